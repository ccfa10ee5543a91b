/** The bench's faults: of the next calls, or of all calls for a while, at Telegram and at the separation API. */

import { call } from "./api.js";
import { element } from "/mixer/static/dom.js";
import { faultName } from "./records.js";
import { attempt, state } from "./store.js";
import { secondOfDay, text } from "./texts.js";

/** @typedef {{ kind: string, method?: string | null, times: number | null, until: number | null, hits: number, code?: number }} Fault */

const METHODS = ["sendMessage", "editMessageText", "sendAudio", "sendMediaGroup", "sendDocument", "sendVoice", "deleteMessage", "answerCallbackQuery", "sendChatAction", "getFile", "download"];
/** For how many calls and how many seconds a fault lasts; 0: without an end. */
const SPANS = [[1, 0], [3, 0], [10, 0], [0, 60], [0, 300], [0, 0]];
/** The codes that the provider is known to answer with. */
const CODES = [400, 401, 402, 404, 405, 408, 409, 413, 422, 429, 430, 451, 455, 500, 501, 505, 531];
const WITH_CODE = ["api_refused", "api_refused_status", "callback_failed"];
const WITH_SECONDS = ["too_many_requests", "slow_answer", "api_slow", "callback_late"];
const status = element("p", { className: "faint" });
const pending = element("div", { role: "status" });
/** @type {{ kinds: string[], separation_kinds: string[], separation_methods: string[] }} */
let known = { kinds: [], separation_kinds: [], separation_methods: [] };

/** Return the form, the active faults and the flood limits left, in the current language. */
export async function faultsSection() {
  pending.replaceChildren();
  await showFaults();
  return [element("h3", {}, text("faults")), form(), pending, status];
}

/** Show the active faults. */
export async function showFaults() {
  const answer = await attempt(() => call("GET", `faults?chat_id=${state.chatId}`));
  if (!answer) return;
  known = answer;
  status.textContent = text("messagesLeft", { count: answer.messages_left });
  const lines = answer.faults.map((/** @type {Fault} */ fault) => text("faultNow", { kind: nameOf(fault), method: methodOf(fault), times: remaining(fault) }));
  const [shown, next] = [[...pending.querySelectorAll("p")].map((line) => line.textContent).join(), lines.join()];
  if (shown === next) return; // or a screen reader would say it anew
  pending.replaceChildren(...lines.map((/** @type {string} */ line) => element("p", {}, line)));
  if (lines.length) pending.append(element("button", { type: "button", className: "action", onclick: () => void change("DELETE", "faults") }, text("clearFaults")));
}

/** @param {Fault} fault */
function nameOf(fault) {
  return WITH_CODE.includes(fault.kind) ? `${faultName(fault.kind)} ${fault.code}` : faultName(fault.kind);
}

/** @param {Fault} fault */
function methodOf({ kind, method }) {
  return kind.startsWith("callback") ? text("callbacks") : (method ?? text("anyMethod"));
}

/** @param {Fault} fault */
function remaining({ times, until, hits }) {
  if (until !== null) return text("untilTime", { time: secondOfDay(until) });
  return spanText(times === null ? 0 : times - hits, 0);
}

/**
 * @param {number} times
 * @param {number} seconds
 */
function spanText(times, seconds) {
  if (seconds) return text("forMinutes", { count: seconds / 60 });
  return times === 0 ? text("untilCleared") : times === 1 ? text("nextCall") : text("nextCalls", { count: times });
}

function form() {
  const kind = element("select", { "aria-label": text("fault"), onchange: () => fit() },
    group(text("kindBot"), known.kinds),
    known.separation_kinds.length > 0 && group(text("kindSeparation"), known.separation_kinds.filter((one) => one.startsWith("api"))),
    known.separation_kinds.length > 0 && group(text("kindCallback"), known.separation_kinds.filter((one) => one.startsWith("callback"))));
  const method = element("select", { "aria-label": text("method") });
  const codes = element("datalist", { id: "fault-codes" }, ...CODES.map((code) => element("option", { value: String(code) })));
  const code = field(text("code"), element("input", { type: "number", min: "300", max: "599", value: "402", required: true }));
  code.input.setAttribute("list", codes.id);
  const seconds = field(text("seconds"), element("input", { type: "number", min: "1", max: "3600", value: "5", required: true }));
  const span = element("select", { "aria-label": text("times") }, ...SPANS.map(([times, s], index) => option(String(index), spanText(times, s))));

  const isOfSeparation = () => known.separation_kinds.includes(kind.value);
  function fit() {
    const isCallback = kind.value.startsWith("callback");
    const methods = isOfSeparation() ? known.separation_methods : METHODS;
    method.hidden = isCallback;
    method.replaceChildren(...(isOfSeparation() ? [] : [option("", text("anyMethod"))]), ...methods.map((one) => option(one, one)), ...(isOfSeparation() ? [option("", text("anyMethod"))] : []));
    for (const [part, kinds] of /** @type {const} */ ([[code, WITH_CODE], [seconds, WITH_SECONDS]])) {
      part.label.hidden = part.input.disabled = !kinds.includes(kind.value);
    }
  }
  fit();

  return element("form", { className: "fields", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    const [times, forS] = SPANS[Number(span.value)];
    const given = { kind: kind.value, method: method.value || null, times: times || null, for_s: forS || null };
    const s = seconds.input.disabled ? undefined : Number(seconds.input.value);
    if (isOfSeparation()) void change("POST", "faults/separation", { ...given, code: code.input.disabled ? undefined : Number(code.input.value), delay_s: s });
    else void change("POST", "faults", kind.value === "slow_answer" ? { ...given, delay_s: s } : { ...given, retry_after_s: s });
  } }, kind, method, code.label, seconds.label, codes, span, element("button", { type: "submit", className: "primary" }, text("addFault")));
}

/**
 * @param {string} label
 * @param {string[]} kinds
 */
function group(label, kinds) {
  return element("optgroup", { label }, ...kinds.map((one) => option(one, faultName(one))));
}

/**
 * @param {string} value
 * @param {string} label
 */
function option(value, label) {
  return element("option", { value }, label);
}

/**
 * @param {string} label
 * @param {HTMLInputElement} input
 */
function field(label, input) {
  return { label: element("label", {}, label, " ", input), input };
}

/**
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 */
async function change(method, path, body) {
  await attempt(() => call(method, path, body));
  await showFaults();
}
