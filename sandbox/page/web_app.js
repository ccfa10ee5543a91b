/** The Web App that a button opens: a page of the bot in a frame, as in Telegram's web client. */

import { call } from "./api.js";
import { element, iconButton } from "/mixer/static/dom.js";
import { isNight } from "./header.js";
import { toast } from "./notices.js";
import { pause as pausePlayer } from "./player.js";
import { attempt, state } from "./store.js";
import { text } from "./texts.js";

const dialog = element("dialog", { className: "web-app", "aria-labelledby": "web-app-title" });
/** @type {HTMLIFrameElement | undefined} */
let frame;

export function addWebApps() {
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    frame = undefined;
  });
  addEventListener("message", (event) => {
    if (frame && event.source === frame.contentWindow && event.origin === new URL(frame.src).origin) onEvent(event.data);
  });
  document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
    if (effectiveDirective !== "frame-src") return;
    dialog.close();
    toast(text("foreignLink", { url: blockedURI }));
  });
}

/**
 * Handle an event of the Web App (core.telegram.org/api/web-events); most of them need nothing here.
 * @param {unknown} data
 */
function onEvent(data) {
  try {
    if (typeof data === "string" && JSON.parse(data).eventType === "web_app_close") dialog.close();
  } catch {
    // not one of Telegram's events
  }
}

/**
 * @param {number} messageId
 * @param {string} title
 * @param {string} url
 */
export async function openWebApp(messageId, title, url) {
  const opened = await attempt(() => call("POST", `${state.chatId}/web-apps`, { message_id: messageId, url, user_id: state.me, is_night: isNight() }));
  if (!opened || dialog.open) return;
  pausePlayer();
  frame = element("iframe", { src: opened.url, title, allow: "autoplay" });
  frame.setAttribute("sandbox", "allow-scripts allow-same-origin allow-forms");
  dialog.replaceChildren(
    element("div", { className: "mixer-head" }, element("h2", { id: "web-app-title" }, title), iconButton("close", text("close"), () => dialog.close())),
    frame,
  );
  dialog.showModal();
}
