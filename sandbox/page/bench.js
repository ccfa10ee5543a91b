/** The bench: what the bot asked of Telegram, what Telegram answered, and faults for the next calls. */

import { call } from "./api.js";
import { element, iconButton } from "./dom.js";
import { toast } from "./notices.js";
import { attempt, emit, on, state } from "./store.js";
import { text, timeOfDay } from "./texts.js";

/** @typedef {{ number: number, method: string, parameters: Record<string, any>, status: number | null, description: string,
 *   time: number, fault: string | null, answer: any }} Call
 * @typedef {{ kind: string, method: string | null, times: number | null, hits: number }} Fault */

const POLL_S = 25;
const SHOWN_CALLS = 300;
/** The constant question for news would hide all others. */
const UNSHOWN = "getUpdates";
const METHODS = ["sendMessage", "editMessageText", "sendAudio", "sendMediaGroup", "sendDocument", "sendVoice", "deleteMessage", "answerCallbackQuery", "sendChatAction", "getFile", "download"];
const TIMES = [1, 3, 10, 0];

const list = element("ol", { className: "calls", tabIndex: 0 });
const filter = element("input", { type: "search", oninput: () => show() });
const status = element("p", { className: "faint" });
const pending = element("div");
const panel = element("aside", { className: "bench", hidden: true, "aria-labelledby": "bench-title" });
const button = iconButton("bench", " ", () => (panel.hidden ? open() : close()), { "aria-expanded": "false" });
/** @type {Call[]} */
let calls = [];
let lastCall = 0;
let isFollowing = false;

export function addBench() {
  document.body.append(panel);
  panel.addEventListener("keydown", (event) => event.key === "Escape" && close());
  on("selected", () => {
    button.title = text("bench");
    button.setAttribute("aria-label", text("bench"));
    if (!panel.hidden) void build();
  });
  on("which-call", (message) => void find(message));
  return button;
}

async function open() {
  panel.hidden = false;
  document.body.classList.add("with-bench");
  button.setAttribute("aria-expanded", "true");
  await build();
  filter.focus();
  void follow();
}

function close() {
  panel.hidden = true;
  document.body.classList.remove("with-bench");
  button.setAttribute("aria-expanded", "false");
  button.focus();
}

async function build() {
  filter.placeholder = text("filter");
  filter.setAttribute("aria-label", text("filter"));
  list.setAttribute("aria-label", text("calls"));
  const faults = await showFaults();
  panel.replaceChildren(
    element("div", { className: "mixer-head" }, element("h2", { id: "bench-title" }, text("bench")), iconButton("close", text("close"), close)),
    element("h3", {}, text("faults")), faultForm(faults?.kinds ?? []), pending, status,
    element("h3", {}, text("calls")), element("div", { className: "fields" }, filter), list,
  );
  show();
}

/** Wait for calls as long as the bench is open. */
async function follow() {
  if (isFollowing) return;
  isFollowing = true;
  while (!panel.hidden) {
    if (!(await read(POLL_S))) break;
    show();
    await showFaults();
  }
  isFollowing = false;
}

/** @param {number} timeoutS */
async function read(timeoutS) {
  const answer = await attempt(() => call("GET", `calls?after=${lastCall}&timeout=${timeoutS}`));
  if (!answer) return false;
  lastCall = answer.last_call;
  calls = [...calls, ...answer.calls.filter((/** @type {Call} */ one) => one.method !== UNSHOWN || one.status !== 200)].slice(-SHOWN_CALLS);
  return true;
}

/** Show the calls, the latest first; one that is shown already keeps its place and stays open. */
function show() {
  const wanted = filter.value.trim().toLowerCase();
  const items = calls.filter(({ method }) => method.toLowerCase().includes(wanted)).reverse()
    .map((one) => document.getElementById(`call-${one.number}`) ?? item(one));
  list.replaceChildren(...items);
}

/** @param {Call} one */
function item(one) {
  const made = messagesOf(one);
  return element("li", { id: `call-${one.number}`, className: one.status === 200 ? "" : "refused" },
    element("details", {},
      element("summary", {},
        element("span", { className: "faint" }, timeOfDay(one.time)),
        element("b", {}, one.method),
        one.fault && element("span", { className: "faint" }, one.fault),
        element("span", { className: "status-code" }, String(one.status ?? text("noAnswer")))),
      made.length > 0 && made[0].chat?.id === state.chatId && element("button", { type: "button", className: "action", onclick: () => emit("go", made[0].message_id) }, text("showMessage")),
      element("h3", {}, text("parameters")), element("pre", {}, pretty(one.parameters)),
      element("h3", {}, text("answer")), element("pre", {}, one.description || pretty(one.answer))));
}

/** @param {any} value  whose texts may be JSON themselves, as parameters of a form are */
function pretty(value) {
  return JSON.stringify(value, (_, inner) => {
    if (typeof inner !== "string" || !/^[[{]/.test(inner)) return inner;
    try {
      return JSON.parse(inner);
    } catch {
      return inner; // a text that only begins like JSON
    }
  }, 2);
}

/**
 * Return the messages that a call made or changed.
 * @param {Call} one
 * @returns {{ message_id: number, chat: { id: number } }[]}
 */
function messagesOf({ answer }) {
  return [answer].flat().filter((found) => found?.message_id);
}

/** @param {import("./store.js").Message} message */
async function find(message) {
  await read(0);
  const found = calls.findLast((one) => messagesOf(one).some((made) => made.message_id === message.message_id && made.chat.id === message.chat.id));
  if (!found) return toast(text("noCall"));
  filter.value = "";
  if (panel.hidden) await open();
  else show();
  for (const marked of list.querySelectorAll(".found")) marked.classList.remove("found");
  const shown = document.getElementById(`call-${found.number}`);
  shown?.classList.add("found");
  shown?.scrollIntoView({ block: "center" });
  const details = shown?.querySelector("details");
  if (details) details.open = true;
  shown?.querySelector("summary")?.focus();
}

/** @returns {Promise<{ kinds: string[] } | undefined>} */
async function showFaults() {
  const answer = await attempt(() => call("GET", `faults?chat_id=${state.chatId}`));
  if (!answer) return undefined;
  status.textContent = text("messagesLeft", { count: answer.messages_left });
  pending.replaceChildren(...answer.faults.map((/** @type {Fault} */ fault) => element("p", {}, text("faultNow", {
    kind: fault.kind, method: fault.method ?? text("anyMethod"), times: timesText(fault.times === null ? 0 : fault.times - fault.hits),
  }))));
  if (answer.faults.length) pending.append(element("button", { type: "button", className: "action", onclick: () => void change("DELETE") }, text("clearFaults")));
  return answer;
}

/** @param {number} times  0: until cleared */
function timesText(times) {
  return times === 0 ? text("untilCleared") : times === 1 ? text("nextCall") : text("nextCalls", { count: times });
}

/** @param {string[]} kinds */
function faultForm(kinds) {
  const kind = select(text("fault"), kinds.map((one) => [one, one.replaceAll("_", " ")]));
  const method = select(text("method"), [["", text("anyMethod")], ...METHODS.map((one) => [one, one])]);
  const times = select(text("times"), TIMES.map((one) => [String(one), timesText(one)]));
  return element("form", { className: "fields", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    void change("POST", { kind: kind.value, method: method.value || null, times: Number(times.value) || null });
  } }, kind, method, times, element("button", { type: "submit", className: "primary" }, text("addFault")));
}

/**
 * @param {string} label
 * @param {string[][]} options  values and labels
 */
function select(label, options) {
  return element("select", { "aria-label": label }, ...options.map(([value, shown]) => element("option", { value }, shown)));
}

/**
 * @param {string} method
 * @param {any} [body]
 */
async function change(method, body) {
  await attempt(() => call(method, "faults", body));
  await showFaults();
}
