/** The shown chat: its messages in order, kept at the end while the reader is there. */

import { bubble, authorOf, summary } from "./bubble.js";
import { element, icon } from "/mixer/static/dom.js";
import { emptyChat } from "./empty.js";
import { openMixer, stemsEndingWith } from "./mixer.js";
import { say } from "./notices.js";
import { setNext } from "./player.js";
import { soundOf } from "./sound.js";
import { isFromBot, isRead, messageById, on, shownMessages, state } from "./store.js";
import { dayOf, text } from "./texts.js";

/** @typedef {import("./store.js").Message} Message */

const list = element("ol", { className: "messages" });
const scroller = element("div", { className: "scroller", tabIndex: 0, role: "region" }, list);
const count = element("span", { className: "count", hidden: true });
const toEnd = element("button", { type: "button", className: "to-end", hidden: true, onclick: () => scrollToEnd(true) }, icon("down"), count);
/** @type {Map<number, { item: HTMLLIElement, message: Message }>} */
const items = new Map();
let unread = 0;
let wasAtEnd = true;
let lastTop = 0;

export function addChat() {
  scroller.addEventListener("scroll", onScroll, { passive: true });
  new ResizeObserver(() => wasAtEnd && scrollToEnd(false)).observe(list);
  new ResizeObserver(() => wasAtEnd && scrollToEnd(false)).observe(scroller);
  on("selected", showAll);
  on("messages", update);
  on("new-message", announce);
  on("go", goTo);
  setNext(nextOfAlbum);
  return element("div", { className: "chat" }, scroller, toEnd);
}

function showAll() {
  scroller.setAttribute("aria-label", text("messages"));
  toEnd.setAttribute("aria-label", text("bottom"));
  items.clear();
  list.replaceChildren();
  unread = 0;
  wasAtEnd = true;
  update();
  scrollToEnd(false);
}

/** Show the changes; only messages that have changed are drawn anew. */
function update() {
  const shown = shownMessages();
  const ids = new Set(shown.map((message) => message.message_id));
  for (const [id, { item }] of items) {
    if (ids.has(id)) continue;
    item.remove();
    items.delete(id);
  }
  list.querySelector(".empty")?.remove();
  if (!shown.length && isRead()) list.append(emptyChat());
  shown.forEach((message, index) => {
    const item = itemOf(message);
    decorate(item, message, shown[index - 1], shown[index + 1]);
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
}

/** @param {Message} message */
function itemOf(message) {
  const known = items.get(message.message_id);
  if (known?.message === message) return known.item;
  const item = known?.item ?? element("li", { id: `message-${message.message_id}` });
  const focused = item.contains(document.activeElement) ? [...item.querySelectorAll("button, a, input")].indexOf(/** @type {Element} */ (document.activeElement)) : -1;
  item.replaceChildren(bubble(message));
  items.set(message.message_id, { item, message });
  if (focused >= 0) refocus(item, focused);
  if (known && isFromBot(message)) announceEdit(message);
  return item;
}

/**
 * Keep the focus in a message whose buttons were replaced.
 * @param {HTMLElement} item
 * @param {number} index
 */
function refocus(item, index) {
  const now = /** @type {NodeListOf<HTMLElement>} */ (item.querySelectorAll("button, a, input"));
  (now[Math.min(index, now.length - 1)] ?? scroller).focus({ preventScroll: true });
}

/**
 * Draw an album's messages as one block, and a line above the first message of a day.
 * @param {HTMLElement} item
 * @param {Message} message
 * @param {Message | undefined} before
 * @param {Message | undefined} after
 */
function decorate(item, message, before, after) {
  const album = message.media_group_id;
  item.classList.toggle("joins-above", Boolean(album) && before?.media_group_id === album);
  item.classList.toggle("joins-below", Boolean(album) && after?.media_group_id === album);
  item.classList.toggle("same-author", before?.from?.id === message.from?.id);
  offerMixer(item, message);
  const day = dayOf(message.date);
  const isFirst = !before || dayOf(before.date) !== day;
  const line = item.querySelector(".day");
  if (isFirst && !line) item.prepend(element("div", { className: "day" }, day));
  else if (!isFirst) line?.remove();
}

/**
 * Put a button below the last of several stems.
 * @param {HTMLElement} item
 * @param {Message} message
 */
function offerMixer(item, message) {
  const stems = stemsEndingWith(message);
  const button = item.querySelector(".hear-split");
  if (!stems.length) return button?.remove();
  if (button) return undefined;
  const made = element("button", { type: "button", className: "hear-split", onclick: () => void openMixer(stemsEndingWith(message)) }, icon("tune"), text("hearSplit"));
  return item.append(made);
}

function onScroll() {
  const isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
  wasAtEnd = isAtEnd || (wasAtEnd && scroller.scrollTop >= lastTop); // content that grew below has not moved the reader
  lastTop = scroller.scrollTop;
  if (wasAtEnd) unread = 0;
  showUnread();
}

/** @param {boolean} isSmooth */
function scrollToEnd(isSmooth) {
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  wasAtEnd = true; // content that grows while it scrolls is followed, too
  scroller.scrollTo({ top: scroller.scrollHeight, behavior: isSmooth && !isCalm ? "smooth" : "instant" });
}

function showUnread() {
  toEnd.hidden = wasAtEnd;
  count.hidden = !unread;
  count.textContent = String(unread);
  toEnd.setAttribute("aria-label", unread ? `${text("bottom")}, ${text("unread", { count: unread })}` : text("bottom"));
}

/** @param {{ chatId: number, message: Message }} news */
function announce({ chatId, message }) {
  if (chatId !== state.chatId) return;
  if (message.from?.id === state.me) {
    wasAtEnd = true; // the writer wants to see it
    return;
  }
  say(text("said", { name: authorOf(message), text: summary(message) }));
  if (!wasAtEnd) unread += 1;
  showUnread();
}

/** The first line said of each message: an edit is said only if it changes that line, since progress bars move all the time. @type {Map<number, string>} */
const spoken = new Map();

/** @param {Message} message */
function announceEdit(message) {
  const line = summary(message).split("\n")[0].replace(/[\d:%▓░▰▱█ ]+/g, " ");
  if (spoken.get(message.message_id) === line) return;
  spoken.set(message.message_id, line);
  say(text("said", { name: authorOf(message), text: summary(message) }));
}

/** @param {number} messageId */
function goTo(messageId) {
  const item = items.get(messageId)?.item;
  if (!item) return;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  item.scrollIntoView({ block: "center", behavior: isCalm ? "instant" : "smooth" });
  item.classList.remove("found");
  void item.offsetWidth; // begins the animation anew
  item.classList.add("found");
  item.tabIndex = -1;
  item.focus({ preventScroll: true });
}

/** @param {string} fileId */
function nextOfAlbum(fileId) {
  const shown = shownMessages();
  const index = shown.findIndex((message) => soundOf(message)?.file_id === fileId);
  const [current, next] = [shown[index], shown[index + 1]];
  const sound = next && soundOf(next);
  if (!sound || !current.media_group_id || next.media_group_id !== current.media_group_id) return undefined;
  return { fileId: sound.file_id, duration: sound.duration ?? 0 };
}

/** @param {number} messageId */
export function isShown(messageId) {
  return items.has(messageId) && Boolean(messageById(messageId));
}
