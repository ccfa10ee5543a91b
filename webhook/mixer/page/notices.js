/** Short notices over the page, and what a screen reader is told. */

import { element } from "./dom.js";

const TOAST_MS = 5000;
const toasts = element("div", { className: "toasts", "aria-hidden": "true" }); // `spoken` says them
const spoken = element("div", { className: "unseen", role: "log", "aria-live": "polite" });

export function addToasts() {
  document.body.append(toasts, spoken);
}

/** @param {string} message */
export function toast(message) {
  const shown = element("div", { className: "toast" }, message);
  say(message);
  toasts.append(shown);
  setTimeout(() => shown.remove(), TOAST_MS);
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
