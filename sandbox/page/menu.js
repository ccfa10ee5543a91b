/** Small menus beside a button: of a message, and of what can be attached. */

import { call, fileUrl } from "./api.js";
import { element } from "/mixer/static/dom.js";
import { toast } from "./notices.js";
import { soundOf } from "./sound.js";
import { attempt, emit, isFromBot, on, state } from "./store.js";
import { text } from "./texts.js";

const menu = element("div", { className: "menu", role: "menu", popover: "auto" });
/** @type {HTMLElement | undefined} */
let opener;

export function addMenu() {
  document.body.append(menu);
  menu.addEventListener("keydown", onKey);
  menu.addEventListener("toggle", () => {
    if (!menu.matches(":popover-open") && (menu.contains(document.activeElement) || document.activeElement === document.body)) opener?.focus();
  });
  on("menu", ({ message, at }) => openMenu(at, itemsOf(message)));
}

/**
 * @param {string} label
 * @param {() => void} action
 */
export function menuItem(label, action) {
  return element("button", { type: "button", role: "menuitem", tabIndex: -1, onclick: () => {
    menu.hidePopover();
    action();
  } }, label);
}

/**
 * Open a menu at a button.
 * @param {HTMLElement} at
 * @param {HTMLElement[]} items
 */
export function openMenu(at, items) {
  opener = at;
  menu.setAttribute("aria-label", at.getAttribute("aria-label") ?? "");
  menu.replaceChildren(...items);
  menu.showPopover();
  const from = at.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const top = from.bottom + height + 8 > innerHeight ? from.top - height - 4 : from.bottom + 4;
  menu.style.top = `${Math.max(8, top)}px`;
  menu.style.left = `${Math.max(8, Math.min(from.left, innerWidth - width - 8))}px`;
  items[0]?.focus();
}

/** @param {import("./store.js").Message} message */
function itemsOf(message) {
  const items = [menuItem(text("reply"), () => emit("reply", message))];
  const content = message.text ?? message.caption;
  if (content) items.push(menuItem(text("copy"), () => void copy(content)));
  const isOwn = message.from?.id === state.me && !isFromBot(message);
  if (isOwn && (content || soundOf(message))) items.push(menuItem(text("edit"), () => emit("edit", message)));
  const file = soundOf(message) ?? message.document ?? message.video ?? message.photo?.at(-1);
  if (file) items.push(menuItem(text("download"), () => element("a", { href: fileUrl(file.file_id), download: file.file_name ?? "" }).click()));
  const place = `${state.chatId}/messages/${message.message_id}`;
  items.push(menuItem(text("deleteMessage"), () => void attempt(() => call("DELETE", place))));
  items.push(menuItem(text("whichCall"), () => emit("which-call", message)), menuItem(text("whichJob"), () => emit("job-calls", message)));
  return items;
}

/** @param {string} content */
async function copy(content) {
  await navigator.clipboard.writeText(content);
  toast(text("copied"));
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const items = /** @type {HTMLElement[]} */ ([...menu.children]);
  const index = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (next === undefined) return;
  event.preventDefault();
  items.at(next % items.length)?.focus();
}
