/** The bench's list: calls of the bot, calls to the separation API, callbacks and states of jobs, the latest first. */

import { call } from "./api.js";
import { element } from "/mixer/static/dom.js";
import { say, toast } from "./notices.js";
import { attempt, emit, on, state } from "./store.js";
import { secondOfDay, text } from "./texts.js";

/** @typedef {{ number: number, kind: "bot" | "separation" | "callback" | "job", name: string, parameters: any, status: number | null,
 *   description: string, time: number, fault: string | null, answer: any, job_id: string, task_id: string }} BenchRecord
 * @typedef {{ id: string, number: number, chat_id: number, message_id: number, title: string, mode: string, failure: string,
 *   task_ids: string[], message_ids: number[], states: string[] }} Job
 * @typedef {{ message_id: number, chat: { id: number } }} MessageId */

const KINDS = /** @type {const} */ ({ bot: "kindBot", separation: "kindSeparation", callback: "kindCallback", job: "kindJob" });
const MOST_RECORDS = 500;
const MOST_JOBS = 100;
const SHOWN_JOBS = 3;
const list = element("ol", { className: "calls", tabIndex: 0 });
const jobList = element("ul", { className: "jobs" });
const problem = element("p", { className: "faint", role: "status" });
const filter = element("input", { type: "search", oninput: () => show() });
const kind = element("select", { onchange: () => show() });
/** @type {BenchRecord[]} */
let records = [];
/** @type {Map<string, Job>} */
const jobs = new Map();
let lastNumber = 0;

/** @param {() => Promise<void>} open  opens the bench */
export function linkMessages(open) {
  on("which-call", (message) => void findCall(message, open));
  on("job-calls", (message) => void findJob(message, open));
}

/** Return the list with its filters, in the current language. */
export function recordsSection() {
  list.setAttribute("aria-label", text("records"));
  filter.placeholder = text("filter");
  filter.setAttribute("aria-label", text("filter"));
  const chosen = kind.value;
  kind.setAttribute("aria-label", text("recordKind"));
  kind.replaceChildren(element("option", { value: "" }, text("everything")), ...Object.entries(KINDS).map(([value, name]) => element("option", { value }, text(name))));
  kind.value = chosen;
  list.replaceChildren(); // what is shown is in another language
  show();
  return [jobList, problem, element("h3", {}, text("records")), element("div", { className: "fields search" }, filter, kind), list];
}

export const focusFilter = () => filter.focus();

/**
 * Read what is new; rejected as `call` is.
 * @param {number} timeoutS
 */
export async function read(timeoutS) {
  const answer = await call("GET", `records?after=${lastNumber}&timeout=${timeoutS}`);
  const isFirst = lastNumber === 0;
  lastNumber = answer.last_number;
  records = [...records, ...answer.records].slice(-MOST_RECORDS);
  for (const job of answer.jobs) {
    jobs.delete(job.id);
    jobs.set(job.id, job);
  }
  for (const id of [...jobs.keys()].slice(0, -MOST_JOBS)) jobs.delete(id);
  const shown = answer.problem ? text("noJobs", { problem: answer.problem }) : "";
  if (problem.textContent !== shown) problem.textContent = shown;
  if (!isFirst) for (const one of answer.records) if (one.kind === "job") say(text("jobNow", { title: titleOf(one.job_id), state: stateName(one.name) }));
}

/** Show what passes the filters; a record that is shown already keeps its place and stays open. */
export function show() {
  const wanted = filter.value.trim().toLowerCase();
  const passing = records.filter((one) => (!kind.value || one.kind === kind.value) && (!wanted || words(one).includes(wanted)));
  list.replaceChildren(...passing.reverse().map((one) => document.getElementById(`record-${one.number}`) ?? item(one)));
  const ofChat = [...jobs.values()].filter((job) => job.chat_id === state.chatId).slice(-SHOWN_JOBS).reverse();
  jobList.hidden = !ofChat.length;
  jobList.setAttribute("aria-label", text("jobs"));
  jobList.replaceChildren(...ofChat.map(jobLine));
}

/** @param {Job} job */
function jobLine(job) {
  const trail = job.states.map((name, index) => element(index === job.states.length - 1 ? "b" : "span", {}, stateName(name)));
  return element("li", {},
    element("button", { type: "button", className: "link", title: text("jobCalls"), onclick: () => filterBy(job.id) }, job.title || job.id),
    element("span", { className: "trail" }, ...trail.flatMap((part, index) => (index ? [" → ", part] : [part])), job.failure && ` (${job.failure})`));
}

/** @param {BenchRecord} one */
function item(one) {
  const isGood = one.status === null ? one.kind === "job" && one.name !== "failed" : one.status < 300 && (one.answer?.code ?? 200) === 200;
  const details = element("details", { ontoggle: () => details.open && details.childElementCount === 1 && details.append(...contents(one)) },
    element("summary", {},
      element("span", { className: "faint" }, secondOfDay(one.time)),
      element("span", { className: `badge ${one.kind}` }, text(KINDS[one.kind])),
      element("b", {}, one.kind === "job" ? stateName(one.name) : one.name),
      one.fault !== null && element("span", { className: "faint" }, faultName(one.fault)),
      element("span", { className: "status-code" }, statusText(one))));
  return element("li", { id: `record-${one.number}`, className: isGood ? "" : "refused" }, details);
}

/** The HTTP status, and the code in the body of the separation API where it says something else. @param {BenchRecord} one */
function statusText(one) {
  if (one.kind === "job") return one.parameters?.failure ?? "";
  if (one.status === null) return text("noAnswer");
  const code = one.kind === "separation" ? (one.answer?.code ?? one.status) : one.status;
  return code === one.status ? String(code) : `${one.status} · ${code}`;
}

/** @param {BenchRecord} one */
function contents(one) {
  const job = jobOf(one);
  const made = messageOf(one, job);
  return [
    element("div", { className: "links" },
      made !== undefined && element("button", { type: "button", className: "action", onclick: () => emit("go", made) }, text("showMessage")),
      job !== undefined && element("button", { type: "button", className: "action", onclick: () => filterBy(job.id) }, text("jobCalls"))),
    one.parameters !== null && element("h3", {}, text(one.kind === "job" ? "kindJob" : "parameters")),
    one.parameters !== null && element("pre", {}, pretty(job && one.kind === "job" ? { id: job.id, task_ids: job.task_ids, ...one.parameters } : one.parameters)),
    one.kind !== "job" && element("h3", {}, text("answer")),
    one.kind !== "job" && element("pre", {}, one.description || pretty(one.answer)),
  ].filter((part) => part !== false);
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

/** @param {BenchRecord} one */
function words(one) {
  const shown = [one.name, one.status, one.fault, one.description, one.task_id, jobOf(one)?.id ?? one.job_id];
  return `${shown.join(" ")} ${JSON.stringify(one.parameters)} ${JSON.stringify(one.answer)}`.toLowerCase();
}

/** Return the messages that a call of the bot made or changed. @param {BenchRecord} one @returns {MessageId[]} */
function messagesOf({ kind: made, answer, parameters }) {
  if (made !== "bot") return [];
  const found = [answer].flat().filter((message) => message?.message_id);
  if (found.length || !parameters?.message_id) return found;
  return [{ message_id: Number(parameters.message_id), chat: { id: Number(parameters.chat_id) } }];
}

/** @param {BenchRecord} one */
function jobOf(one) {
  const made = messagesOf(one);
  const isIts = (/** @type {Job} */ job) => job.id === one.job_id || (one.task_id && job.task_ids.includes(one.task_id)) || made.some((message) => isOf(message, job));
  return [...jobs.values()].findLast(isIts);
}

/** @param {MessageId} message @param {Job} job */
function isOf(message, job) {
  return message.chat.id === job.chat_id && job.message_ids.includes(message.message_id);
}

/** The shown chat's message to which a record leads. @param {BenchRecord} one @param {Job | undefined} job */
function messageOf(one, job) {
  const [made] = messagesOf(one);
  if (made) return made.chat.id === state.chatId ? made.message_id : undefined;
  return job?.chat_id === state.chatId && job.message_id ? job.message_id : undefined;
}

/** Show only what belongs to a job. @param {string} jobId */
function filterBy(jobId) {
  filter.value = jobId;
  kind.value = "";
  show();
  filter.focus();
  say(text("recordsShown", { count: list.childElementCount }));
}

/** @param {import("./store.js").Message} message @param {() => Promise<void>} open */
async function findCall(message, open) {
  await attempt(() => read(0));
  const found = records.findLast((one) => messagesOf(one).some((made) => made.message_id === message.message_id && made.chat.id === message.chat.id));
  if (!found) return toast(text("noCall"));
  filter.value = kind.value = "";
  await open();
  for (const marked of list.querySelectorAll(".found")) marked.classList.remove("found");
  const shown = document.getElementById(`record-${found.number}`);
  shown?.classList.add("found");
  const details = shown?.querySelector("details");
  if (details) details.open = true;
  shown?.scrollIntoView({ block: "center" });
  shown?.querySelector("summary")?.focus();
}

/** @param {import("./store.js").Message} message @param {() => Promise<void>} open */
async function findJob(message, open) {
  await attempt(() => read(0));
  const job = [...jobs.values()].findLast((one) => isOf(message, one));
  if (!job) return toast(text("noJob"));
  await open();
  filterBy(job.id);
}

/** @param {string} jobId */
const titleOf = (jobId) => jobs.get(jobId)?.title || jobId;

/** @param {string} name */
export const stateName = (name) => text(/** @type {import("./texts.js").TextName} */ (`state_${name}`));

/** @param {string} name */
export const faultName = (name) => text(/** @type {import("./texts.js").TextName} */ (`fault_${name}`));
