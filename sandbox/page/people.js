/** Whose phone this is: people, their chats, groups and topics, and what can be done to a chat. */

import { call } from "./api.js";
import { element, iconButton, initial, relabel } from "/mixer/static/dom.js";
import { attempt, chat, emit, me, on, readChats, select, state } from "./store.js";
import { text } from "./texts.js";

/** @typedef {import("./store.js").Chat} Chat @typedef {import("./store.js").User} User */

const LANGUAGES = { en: "English", "zh-hans": "简体中文", "zh-hant": "繁體中文", es: "Español", "pt-br": "Português", ru: "Русский", de: "Deutsch" };
const GROUPS = /** @type {const} */ (["group", "supergroup", "forum", "channel"]);
const MUSIC = ["can_send_audios", "can_send_documents"];
const dialog = element("dialog", { className: "people", "aria-labelledby": "people-title" });
const badge = element("span", { className: "count", hidden: true });
const button = iconButton("people", " ", open, { className: "icon-button with-count" });
/** The number of unseen messages by chat. @type {Map<number, number>} */
const unread = new Map();
const title = element("h2", { id: "people-title" });
const closer = iconButton("close", " ", () => dialog.close());
const personName = nameField("person-name");
const language = element("select", {}, ...Object.entries(LANGUAGES).map(([code, name]) => element("option", { value: code }, name)));
const groupName = nameField("group-name");
const kind = element("select", {}, ...GROUPS.map((value) => element("option", { value })));
const topicName = nameField("topic-name");
const topicForm = form(topicName, null, addTopic);
const people = element("section");
const chats = element("section");
const shownChat = element("section", {}, topicForm);
const newPerson = element("section", {}, form(personName, language, addPerson));
const newGroup = element("section", {}, form(groupName, kind, addGroup));

export function addPeople() {
  dialog.append(element("div", { className: "mixer-head" }, title, closer), people, chats, shownChat, newPerson, newGroup);
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  on("new-message", ({ chatId, message }) => {
    if (chatId === state.chatId || message.from?.id === state.me) return;
    unread.set(chatId, (unread.get(chatId) ?? 0) + 1);
    update();
  });
  on("selected", () => {
    unread.delete(state.chatId);
    update();
  });
  on("chats", () => {
    const next = chat()?.migrated_to;
    if (next) void attempt(() => select(state.me, next));
    update();
  });
  return button;
}

function open() {
  show();
  dialog.showModal();
}

function update() {
  const count = [...unread.values()].reduce((sum, one) => sum + one, 0);
  const label = text("people") + (count ? `, ${text("unread", { count })}` : "");
  button.title = label;
  button.setAttribute("aria-label", label);
  badge.textContent = String(count);
  badge.hidden = !count;
  button.append(badge);
  if (dialog.open) show();
}

function show() {
  const focused = document.activeElement instanceof HTMLElement && dialog.contains(document.activeElement) ? document.activeElement.id : "";
  fill(people, text("youAre"), [...state.users.values()].map(personButton));
  fill(chats, text("chats"), chatsOf(me()).flatMap(chatButtons));
  fill(shownChat, text("thisChat"), actions());
  fill(newPerson, text("newPerson"));
  fill(newGroup, text("newGroup"));
  topicForm.hidden = !chat().is_forum;
  label();
  if (focused) document.getElementById(focused)?.focus();
}

/**
 * Draw a section anew, except its form, in which somebody may be writing.
 * @param {HTMLElement} section
 * @param {string} heading
 * @param {(HTMLElement | false)[]} [rows]
 */
function fill(section, heading, rows = []) {
  for (const child of [...section.children]) if (!(child instanceof HTMLFormElement)) child.remove();
  section.prepend(element("h3", {}, heading), ...rows.filter((row) => row !== false));
}

/** Name everything that is not drawn anew in the current language. */
function label() {
  title.textContent = text("people");
  relabel(closer, "close", text("close"));
  for (const [field, name] of /** @type {const} */ ([[personName, "name"], [groupName, "groupTitle"], [topicName, "newTopic"]])) {
    field.placeholder = text(name);
    field.setAttribute("aria-label", text(name));
  }
  language.setAttribute("aria-label", text("language"));
  kind.setAttribute("aria-label", text("kind"));
  GROUPS.forEach((one, index) => (kind.options[index].textContent = text(one)));
  for (const adder of dialog.querySelectorAll("form button")) relabel(/** @type {HTMLElement} */ (adder), "add", text("add"));
}

/** @param {User} user */
function chatsOf(user) {
  return [...state.chats.values()].filter((one) => one.id === user.id || (one.member_ids.includes(user.id) && !one.migrated_to));
}

/** @param {User} user */
function personButton(user) {
  const code = /** @type {keyof typeof LANGUAGES} */ (user.language_code ?? "en");
  return row(`person-${user.id}`, user.first_name, LANGUAGES[code] ?? code, user.id === state.me, 0, () => select(user.id, user.id));
}

/** @param {Chat} one */
function chatButtons(one) {
  const isPrivate = one.type === "private";
  const name = isPrivate ? state.bot.first_name : (one.title ?? "");
  const detail = text(isPrivate ? "bot" : one.is_forum ? "forum" : /** @type {"group" | "supergroup" | "channel"} */ (one.type));
  const isShown = one.id === state.chatId;
  const rows = [row(`chat-${one.id}`, name, one.is_forum ? `${detail} · ${text("general")}` : detail, isShown && !state.threadId, unread.get(one.id) ?? 0, () => select(state.me, one.id))];
  for (const { message_thread_id: id, name: topic, is_closed: isClosed } of one.topics) {
    rows.push(row(`topic-${one.id}-${id}`, `# ${topic}`, isClosed ? text("closed") : "", isShown && state.threadId === id, 0, () => select(state.me, one.id, id)));
  }
  return rows;
}

/**
 * @param {string} id
 * @param {string} name
 * @param {string} detail
 * @param {boolean} isCurrent
 * @param {number} count
 * @param {() => Promise<any>} choose
 */
function row(id, name, detail, isCurrent, count, choose) {
  return element("button", { type: "button", id, className: "row", "aria-current": String(isCurrent), onclick: () => void attempt(choose) },
    element("span", { className: "avatar", "aria-hidden": "true" }, initial(name.replace("# ", ""))),
    element("span", { className: "names" }, element("b", {}, name), element("span", { className: "faint" }, detail)),
    count > 0 && element("span", { className: "count", "aria-label": text("unread", { count }) }, String(count)));
}

/** What can be done to the shown chat, as buttons. */
function actions() {
  const shown = chat();
  if (shown.type === "private") return [toggle("block", shown.is_bot_out ? "unblock" : "block", shown.is_bot_out)];
  const membership = toggle("remove", shown.is_bot_out ? "unblock" : "block", shown.is_bot_out);
  if (shown.type === "channel") return [membership];
  const isMuted = shown.bot_forbidden.length > 0;
  const topic = shown.topics.find(({ message_thread_id: id }) => id === state.threadId);
  return [
    membership,
    action(text(isMuted ? "unmuteBot" : "muteBot"), "mute", () => call("POST", `${shown.id}/restriction`, { forbidden: isMuted ? [] : MUSIC, bot_only: true })),
    ...[...state.users.values()].filter(({ id }) => !shown.member_ids.includes(id)).map((user) => action(text("invite", { name: user.first_name }), `invite-${user.id}`, () => call("POST", `${shown.id}/members`, { user_id: user.id }))),
    shown.member_ids[0] !== state.me && action(text("leave"), "leave", async () => {
      await call("DELETE", `${shown.id}/members/${state.me}`);
      await select(state.me, state.me);
    }),
    shown.type === "group" && action(text("migrate"), "migrate", () => call("POST", `${shown.id}/migrate`)),
    topic !== undefined && action(text(topic.is_closed ? "reopenTopic" : "closeTopic"), "close-topic", () => call("POST", `${shown.id}/topics/${topic.message_thread_id}/${topic.is_closed ? "reopen" : "close"}`)),
  ];
}

/**
 * @param {"block" | "remove"} kind
 * @param {string} path
 * @param {boolean} isOut
 */
function toggle(kind, path, isOut) {
  const label = kind === "block" ? text(isOut ? "unblock" : "block") : text(isOut ? "addBot" : "removeBot");
  return action(label, kind, () => call("POST", `${state.chatId}/${path}`));
}

/**
 * @param {string} label
 * @param {string} id
 * @param {() => Promise<any>} run
 */
function action(label, id, run) {
  return element("button", { type: "button", id: `action-${id}`, className: "action", onclick: () => void perform(run) }, label);
}

/** @param {() => Promise<any>} run */
async function perform(run) {
  const done = await attempt(run);
  await attempt(readChats);
  emit("chats");
  return done;
}

/** @param {string} name */
async function addPerson(name) {
  const user = await perform(() => call("POST", "users", { first_name: name, language_code: language.value }));
  if (user) await attempt(() => select(user.id, user.id));
  return user;
}

/** @param {string} title */
async function addGroup(title) {
  const others = [...state.users.keys()].filter((id) => id !== state.me);
  const made = await perform(() => kind.value === "channel"
    ? call("POST", "channels", { title, owner_id: state.me, subscriber_ids: others })
    : call("POST", "groups", { title, member_ids: [state.me, ...others], supergroup: kind.value === "supergroup", forum: kind.value === "forum" }));
  if (made) await attempt(() => select(state.me, made.id));
  return made;
}

/** @param {string} name */
async function addTopic(name) {
  const { chatId } = state;
  const made = await perform(() => call("POST", `${chatId}/topics`, { name }));
  if (made) await attempt(() => select(state.me, chatId, made.message_thread_id));
  return made;
}

/** @param {string} id */
function nameField(id) {
  return element("input", { id, required: true, maxLength: 60, autocomplete: "off" });
}

/**
 * @param {HTMLInputElement} field
 * @param {HTMLSelectElement | null} choice
 * @param {(name: string) => Promise<any>} submit  fulfilled with nothing after a refusal
 */
function form(field, choice, submit) {
  return element("form", { className: "fields", onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    const name = field.value;
    field.value = "";
    if (!(await submit(name.trim())) && !field.value) field.value = name; // to be corrected
  } }, field, choice, element("button", { type: "submit", className: "icon-button" }));
}
