/** Notices over the chat: those that it shares with the mixer's page, refusals, and alerts. */

import { element } from "/mixer/static/dom.js";
import { addToasts, toast } from "/mixer/static/notices.js";
import { on } from "./store.js";
import { text } from "./texts.js";

export { say, toast } from "/mixer/static/notices.js";

const dialog = element("dialog", { className: "alert", role: "alertdialog", "aria-labelledby": "alert-text" });

export function addNotices() {
  addToasts();
  document.body.append(dialog);
  on("refused", (reason) => toast(reason || text("lost")));
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
