/** The people, chats and messages that the page knows, and which of them are shown. */

import { call, follow, RefusedError } from "./api.js";

/**
 * @typedef {{ id: number, first_name: string, last_name?: string, username?: string, language_code?: string, is_bot: boolean }} User
 * @typedef {{ message_thread_id: number, name: string, is_closed: boolean }} Topic
 * @typedef {{ id: number, type: string, title?: string, first_name?: string, member_ids: number[], topics: Topic[],
 *   is_forum?: boolean, is_bot_out: boolean, bot_forbidden: string[], migrated_to: number | null }} Chat
 * @typedef {{ text: string, callback_data?: string, url?: string, web_app?: { url: string }, copy_text?: { text: string }, style?: string }} Button
 * @typedef {{ type: string, offset: number, length: number, url?: string }} Entity
 * @typedef {{ file_id: string, file_unique_id: string, file_size: number, file_name?: string, mime_type?: string,
 *   title?: string, performer?: string, duration?: number, thumbnail?: Media }} Media
 * @typedef {{ message_id: number, date: number, edit_date?: number, chat: { id: number }, from?: User, text?: string,
 *   caption?: string, entities?: Entity[], caption_entities?: Entity[], reply_to_message?: Message, external_reply?: any,
 *   is_from_bot: boolean, sender_chat?: Chat, reply_markup?: { inline_keyboard: Button[][] }, media_group_id?: string, message_thread_id?: number,
 *   is_topic_message?: boolean, reaction?: string, audio?: Media, voice?: Media, document?: Media, video?: Media,
 *   video_note?: Media, photo?: Media[], sticker?: Media, [field: string]: any }} Message
 */

/** @type {{ bot: User, users: Map<number, User>, chats: Map<number, Chat>, me: number, chatId: number, threadId: number }} */
export const state = {
  bot: { id: 0, first_name: "", is_bot: true },
  users: new Map(),
  chats: new Map(),
  me: 0,
  chatId: 0,
  threadId: 0,
};

/** @type {Map<number, Map<number, Message>>} */
const messages = new Map();
/** The chats whose messages are being read. @type {Map<number, Promise<void>>} */
const reading = new Map();
/** @type {Map<string, Set<(detail: any) => void>>} */
const listeners = new Map();

/**
 * Call a function on `chats`, `selected`, `messages` (the ids that changed), `action`, `callback_answer`,
 * `new-message` or `connection`.
 * @param {string} kind
 * @param {(detail: any) => void} listener
 */
export function on(kind, listener) {
  if (!listeners.has(kind)) listeners.set(kind, new Set());
  listeners.get(kind)?.add(listener);
}

/**
 * @param {string} kind
 * @param {any} [detail]
 */
export function emit(kind, detail) {
  for (const listener of listeners.get(kind) ?? []) listener(detail);
}

export const me = () => /** @type {User} */ (state.users.get(state.me));
export const chat = () => /** @type {Chat} */ (state.chats.get(state.chatId));

/** Return the shown chat's messages in order, those of the shown topic only. */
export function shownMessages() {
  const all = [...(messages.get(state.chatId)?.values() ?? [])].sort((one, other) => one.message_id - other.message_id);
  return chat()?.is_forum ? all.filter((message) => (message.message_thread_id ?? 0) === state.threadId) : all;
}

/** Return whether the shown chat's messages are known. */
export const isRead = () => messages.has(state.chatId);

/** @param {number} messageId */
export function messageById(messageId) {
  return messages.get(state.chatId)?.get(messageId);
}

/** @param {Message} message */
export const isFromBot = (message) => message.is_from_bot;

/** @type {() => void} */
let showFirst;
/** Fulfilled when a chat is shown; a person's actions before that wait for it. */
export const whenShown = /** @type {Promise<void>} */ (new Promise((resolve) => (showFirst = resolve)));

/** Read everything, follow the events, and show a person's chat; adds a person if there is none. */
export async function begin() {
  const position = await readAll();
  follow(position, {
    onEvent: apply,
    onRestart: () => location.reload(),
    onConnection: (isUp) => emit("connection", isUp),
  });
}

/** Read the people and chats anew; returns the position of the latest event. */
export async function readChats() {
  const answer = await call("GET", "chats");
  state.bot = answer.bot;
  state.users = new Map(answer.users.map((/** @type {User} */ user) => [user.id, user]));
  state.chats = new Map(answer.chats.map((/** @type {Chat} */ chat) => [chat.id, chat]));
  return answer;
}

/** @returns {Promise<string>} */
async function readAll() {
  let answer = await readChats();
  if (!state.users.size) {
    await call("POST", "users/first", { first_name: "Robin", language_code: telegramLanguage() });
    answer = await readChats();
  }
  const [meId, chatId, threadId] = (sessionStorage.getItem("shown") ?? "").split(",").map(Number);
  const person = state.users.get(meId) ?? [...state.users.values()][0];
  const isKnown = state.users.has(meId) && state.chats.has(chatId);
  await select(person.id, isKnown ? chatId : person.id, isKnown ? threadId : 0);
  return answer.position;
}

/**
 * Show a chat as a person sees it: at once, since what is written next belongs there.
 * @param {number} userId
 * @param {number} chatId
 * @param {number} [threadId]
 */
export async function select(userId, chatId, threadId = 0) {
  [state.me, state.chatId, state.threadId] = [userId, chatId, threadId];
  sessionStorage.setItem("shown", [userId, chatId, threadId].join());
  emit("selected");
  showFirst();
  if (isRead()) return; // and kept up to date by events
  if (!reading.has(chatId)) reading.set(chatId, readMessages(chatId));
  await reading.get(chatId);
}

/** @param {number} chatId */
async function readMessages(chatId) {
  try {
    const answer = await call("GET", `${chatId}/messages`);
    messages.set(chatId, new Map(answer.messages.map((/** @type {Message} */ message) => [message.message_id, message])));
  } finally {
    reading.delete(chatId);
  }
  if (chatId === state.chatId) emit("messages");
}

/** The browser's language as Telegram's clients name theirs. */
function telegramLanguage() {
  const language = navigator.language.toLowerCase();
  if (!language.startsWith("zh")) return language.split("-")[0];
  return /hant|tw|hk|mo/.test(language) ? "zh-hant" : "zh-hans";
}

/** @param {import("./api.js").ChatEvent} event */
function apply(event) {
  const { chat_id: chatId, kind, content } = event;
  const read = reading.get(chatId);
  if (read) return void read.catch(() => undefined).then(() => apply(event)); // after the messages that it changes
  if (!state.chats.has(chatId)) return void readChats().then(() => emit("chats"));
  const known = messages.get(chatId);
  if (kind === "message" || kind === "edited") {
    known?.set(content.message_id, { ...content, reaction: known.get(content.message_id)?.reaction });
    if (kind === "message") emit("new-message", { chatId, message: content });
  } else if (kind === "deleted") {
    known?.delete(content.message_id);
  } else if (kind === "reaction") {
    const message = known?.get(content.message_id);
    if (message) known?.set(content.message_id, { ...message, reaction: content.reaction });
  } else if (kind === "chat") {
    return void readChats().then(() => emit("chats"));
  } else {
    return emit(kind, { chatId, ...content });
  }
  if (chatId === state.chatId) emit("messages", content.message_id);
}

/**
 * Run a person's action; if the sandbox refuses it, show the reason.
 * @param {() => Promise<any>} action
 * @returns {Promise<any>}  undefined after a refusal
 */
export async function attempt(action) {
  await whenShown;
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    emit("refused", error.message);
    return undefined;
  }
}
