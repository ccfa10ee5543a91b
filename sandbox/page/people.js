/** Whose phone this is: people, their chats, groups and topics, and what can be done to a chat. */

import { call } from "./api.js";
import { element, icon, iconButton, initial } from "/mixer/static/dom.js";
import { attempt, chat, emit, me, on, readChats, select, state } from "./store.js";
import { text } from "./texts.js";

/** @typedef {import("./store.js").Chat} Chat @typedef {import("./store.js").User} User */

const LANGUAGES = { en: "English", "zh-hans": "简体中文", "zh-hant": "繁體中文", es: "Español", "pt-br": "Português", ru: "Русский", de: "Deutsch" };
const MUSIC = ["can_send_audios", "can_send_documents"];
const dialog = element("dialog", { className: "people", "aria-labelledby": "people-title" });
const badge = element("span", { className: "count", hidden: true });
const button = iconButton("people", " ", open, { className: "icon-button with-count" });
/** The number of unseen messages by chat. @type {Map<number, number>} */
const unread = new Map();

export function addPeople() {
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
  dialog.replaceChildren(
    element("div", { className: "mixer-head" }, element("h2", { id: "people-title" }, text("people")), iconButton("close", text("close"), () => dialog.close())),
    section(text("youAre"), [...state.users.values()].map(personButton)),
    section(text("chats"), chatsOf(me()).flatMap(chatButtons)),
    section(text("thisChat"), actions()),
    section(text("newPerson"), [personForm()]),
    section(text("newGroup"), [groupForm()]),
  );
  if (focused) document.getElementById(focused)?.focus();
}

/**
 * @param {string} title
 * @param {(HTMLElement | false)[]} content
 */
function section(title, content) {
  return element("section", {}, element("h3", {}, title), ...content);
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
    shown.is_forum === true && topicForm(shown),
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

function personForm() {
  const name = element("input", { id: "person-name", required: true, maxLength: 60, autocomplete: "off", placeholder: text("name"), "aria-label": text("name") });
  const language = element("select", { "aria-label": text("language") }, ...Object.entries(LANGUAGES).map(([code, label]) => element("option", { value: code }, label)));
  return form([name, language], async () => {
    const user = await perform(() => call("POST", "users", { first_name: name.value.trim(), language_code: language.value }));
    if (user) await attempt(() => select(user.id, user.id));
  });
}

function groupForm() {
  const name = element("input", { id: "group-name", required: true, maxLength: 60, autocomplete: "off", placeholder: text("groupTitle"), "aria-label": text("groupTitle") });
  const kind = element("select", { "aria-label": text("kind") }, ...(/** @type {const} */ (["group", "supergroup", "forum", "channel"])).map((one) => element("option", { value: one }, text(one))));
  return form([name, kind], async () => {
    const [title, others] = [name.value.trim(), [...state.users.keys()].filter((id) => id !== state.me)];
    const made = await perform(() => kind.value === "channel"
      ? call("POST", "channels", { title, owner_id: state.me, subscriber_ids: others })
      : call("POST", "groups", { title, member_ids: [state.me, ...others], supergroup: kind.value === "supergroup", forum: kind.value === "forum" }));
    if (made) await attempt(() => select(state.me, made.id));
  });
}

/** @param {Chat} shown */
function topicForm(shown) {
  const name = element("input", { id: "topic-name", required: true, maxLength: 60, autocomplete: "off", placeholder: text("newTopic"), "aria-label": text("newTopic") });
  return form([name], async () => {
    const made = await perform(() => call("POST", `${shown.id}/topics`, { name: name.value.trim() }));
    if (made) await attempt(() => select(state.me, shown.id, made.message_thread_id));
  });
}

/**
 * @param {HTMLElement[]} fields
 * @param {() => Promise<any>} submit
 */
function form(fields, submit) {
  return element("form", { className: "fields", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    void submit();
  } }, ...fields, element("button", { type: "submit", className: "icon-button", title: text("add"), "aria-label": text("add") }, icon("add")));
}
