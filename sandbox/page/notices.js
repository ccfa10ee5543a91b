/** Short notices over the chat: the answers to taps, refusals, and what a screen reader is told. */

import { element } from "./dom.js";
import { on } from "./store.js";
import { text } from "./texts.js";

const TOAST_MS = 5000;
const toasts = element("div", { className: "toasts", "aria-hidden": "true" }); // `spoken` says them
const spoken = element("div", { className: "unseen", role: "log", "aria-live": "polite" });
const dialog = element("dialog", { className: "alert", role: "alertdialog", "aria-labelledby": "alert-text" });

export function addNotices() {
  document.body.append(toasts, spoken, dialog);
  on("refused", (reason) => toast(reason || text("lost")));
}

/** @param {string} message */
export function toast(message) {
  const shown = element("div", { className: "toast" }, message);
  say(message);
  toasts.append(shown);
  setTimeout(() => shown.remove(), TOAST_MS);
}

/**
 * Show a text that has to be confirmed, as Telegram shows an alert.
 * @param {string} message
 */
export function alert(message) {
  dialog.replaceChildren(
    element("p", { id: "alert-text" }, message),
    element("button", { type: "button", className: "primary", onclick: () => dialog.close() }, text("ok")),
  );
  dialog.showModal();
}

/**
 * Let a screen reader say a text after what it says now.
 * @param {string} message
 */
export function say(message) {
  const line = element("p", {}, message);
  spoken.append(line);
  while (spoken.childElementCount > 5) spoken.firstElementChild?.remove();
}
