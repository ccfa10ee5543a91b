/** One message as a bubble: whom it replies to, its text or file, its buttons. */

import { call, fileUrl } from "./api.js";
import { element, icon, iconButton } from "/mixer/static/dom.js";
import { alert, toast } from "./notices.js";
import { openTelegramLink, richText } from "./richtext.js";
import { soundBox, soundName, soundOf } from "./sound.js";
import { attempt, emit, isFromBot, messageById, on, state } from "./store.js";
import { size, text, timeOfDay } from "./texts.js";
import { openWebApp } from "./web_app.js";

/** @typedef {import("./store.js").Message} Message */

/** Buttons whose tap was not answered yet, by the query's id. @type {Map<string, HTMLElement>} */
const waiting = new Map();
const UNANSWERED_MS = 15_000;

/** Follow the answers to taps. Call once. */
export function showAnswers() {
  on("callback_answer", (/** @type {{ callback_query_id: string, text: string, show_alert: boolean }} */ answer) => {
    const button = waiting.get(answer.callback_query_id);
    if (!button) return; // another page's tap
    settle(answer.callback_query_id);
    if (answer.text) (answer.show_alert ? alert : toast)(answer.text);
  });
}

/** @param {string} queryId */
function settle(queryId) {
  waiting.get(queryId)?.removeAttribute("aria-busy");
  waiting.delete(queryId);
}

/**
 * Return what a message says in one line, for quotes and screen readers.
 * @param {Message} message
 */
export function summary(message) {
  const sound = soundOf(message);
  if (sound) return `♪ ${soundName(sound)}`;
  if (message.text ?? message.caption) return message.text ?? message.caption ?? "";
  if (message.document) return message.document.file_name ?? text("attachment");
  if (message.forum_topic_created) return text("topicOpened", { name: message.forum_topic_created.name });
  if (message.new_chat_members) return text("joined", { name: message.new_chat_members[0].first_name });
  if (message.left_chat_member) return text("left", { name: message.left_chat_member.first_name });
  if (message.migrate_to_chat_id || message.migrate_from_chat_id) return text("upgraded");
  for (const kind of /** @type {const} */ (["photo", "sticker", "location", "contact"])) if (message[kind]) return text(kind);
  return message.video || message.video_note ? text("attachment") : message.dice ? message.dice.emoji : text("service");
}

/** @param {Message} message */
export function authorOf(message) {
  return message.from?.id === state.me ? text("you") : (message.from?.first_name ?? message.sender_chat?.title ?? "");
}

/**
 * Create a message's bubble.
 * @param {Message} message
 */
export function bubble(message) {
  if (!hasBody(message)) return element("div", { className: "service" }, summary(message));
  const isGroup = state.chatId < 0;
  const content = message.text ?? message.caption;
  return element("article", { className: isFromBot(message) || message.from?.id !== state.me ? "bubble" : "bubble mine", "aria-label": text("said", { name: authorOf(message), text: summary(message).slice(0, 80) }) },
    isGroup && message.from?.id !== state.me && element("div", { className: "author" }, authorOf(message)),
    quote(message),
    attachment(message),
    content && element("div", { className: "text", dir: "auto" }, ...richText(content, message.entities ?? message.caption_entities ?? [])),
    element("div", { className: "meta" },
      Boolean(message.reaction) && element("span", { className: "reaction" }, message.reaction),
      Boolean(message.edit_date) && element("span", {}, text("edited")),
      element("time", { dateTime: new Date(message.date * 1000).toISOString() }, timeOfDay(message.date)),
      iconButton("more", text("more"), (event) => emit("menu", { message, at: event.currentTarget }), { "aria-haspopup": "menu" }),
    ),
    keyboard(message),
  );
}

/** @param {Message} message */
function hasBody(message) {
  return ["text", "audio", "voice", "document", "video", "video_note", "photo", "sticker", "location", "contact", "dice"].some((kind) => kind in message);
}

/** @param {Message} message */
function quote(message) {
  const original = message.reply_to_message;
  if (original?.forum_topic_created) return null; // a topic's message replies to the topic's opening
  if (original) {
    const known = messageById(original.message_id);
    return element("button", { type: "button", className: "quote", title: text("replied"), onclick: () => emit("go", original.message_id) },
      element("b", {}, authorOf(original)), element("span", {}, known ? summary(known) : text("gone")));
  }
  return message.external_reply && element("div", { className: "quote" }, element("span", {}, text("elsewhere")));
}

/** @param {Message} message */
function attachment(message) {
  const sound = soundOf(message);
  if (sound) return soundBox(sound);
  const picture = message.photo?.at(-1) ?? message.sticker;
  if (picture) return element("img", { className: "picture", src: fileUrl(picture.file_id), alt: text(message.photo ? "photo" : "sticker") });
  const video = message.video ?? message.video_note;
  if (video) return element("video", { className: "picture", src: fileUrl(video.file_id), controls: true, preload: "metadata" });
  if (message.document) return fileBox(message.document);
  if (message.dice) return element("div", { className: "dice" }, `${message.dice.emoji} ${message.dice.value}`);
  if (message.location || message.contact) return element("div", {}, summary(message));
  return null;
}

/** @param {import("./store.js").Media} file */
function fileBox(file) {
  const name = file.file_name ?? text("attachment");
  return element("a", { className: "file", href: fileUrl(file.file_id), download: name, "aria-label": text("downloadFile", { name }) },
    icon("file"), element("span", {}, name, element("span", { className: "faint" }, size(file.file_size))));
}

/** @param {Message} message */
function keyboard(message) {
  const rows = message.reply_markup?.inline_keyboard ?? [];
  if (!rows.length) return null;
  return element("div", { className: "keyboard" }, ...rows.map((row) => element("div", {}, ...row.map((button) => inlineButton(message, button)))));
}

/**
 * @param {Message} message
 * @param {import("./store.js").Button} button
 */
function inlineButton(message, button) {
  if (button.url) {
    const { url } = button;
    return element("a", { className: "inline-button", href: url, target: "_blank", rel: "noopener noreferrer", onclick: (/** @type {Event} */ event) => openTelegramLink(url) && event.preventDefault() }, button.text);
  }
  const made = element("button", { type: "button", className: `inline-button ${button.style ?? ""}`, onclick: () => press(message, button, made) }, button.text);
  return made;
}

/**
 * @param {Message} message
 * @param {import("./store.js").Button} button
 * @param {HTMLElement} pressed
 */
async function press(message, button, pressed) {
  if (button.copy_text) {
    await navigator.clipboard.writeText(button.copy_text.text);
    return toast(text("copied"));
  }
  if (button.web_app) return openWebApp(message.message_id, button.text, button.web_app.url);
  if (!button.callback_data || pressed.hasAttribute("aria-busy")) return;
  pressed.setAttribute("aria-busy", "true");
  const tap = { message_id: message.message_id, callback_data: button.callback_data, user_id: state.me };
  const answer = await attempt(() => call("POST", `${state.chatId}/taps`, tap));
  if (!answer) return pressed.removeAttribute("aria-busy");
  const queryId = answer.callback_query_id;
  waiting.set(queryId, pressed);
  // The answer can have come before its id was known.
  const known = await attempt(() => call("GET", `taps/${queryId}`));
  if (known?.is_answered) {
    if (waiting.has(queryId) && known.text) (known.show_alert ? alert : toast)(known.text);
    return settle(queryId);
  }
  setTimeout(() => {
    if (!waiting.has(queryId)) return;
    toast(text("notAnswered")); // a late answer is shown all the same
    pressed.removeAttribute("aria-busy");
  }, UNANSWERED_MS);
}
