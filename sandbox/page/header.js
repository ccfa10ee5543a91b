/** The line at the top: whose chat it is, what the bot is doing, and day or night. */

import { element, iconButton, initial, relabel } from "/mixer/static/dom.js";
import { chat, isFromBot, on, state } from "./store.js";
import { text } from "./texts.js";

/** Telegram shows an action for five seconds, or until a message arrives. */
const ACTION_MS = 5000;
const avatar = element("div", { className: "avatar", "aria-hidden": "true" });
const title = element("h1");
const status = element("div", { className: "status" });
const colours = iconButton("night", " ", switchColours);
const banner = element("div", { className: "banner", role: "alert", hidden: true });
let timer = 0;

/** @param {...HTMLElement} buttons  further ones */
export function addHeader(...buttons) {
  useColours(localStorage.getItem("colours"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", labelColours);
  on("selected", show);
  on("chats", show);
  on("action", (/** @type {{ chatId: number, action: string }} */ { chatId, action }) => chatId === state.chatId && showAction(action));
  on("new-message", ({ chatId, message }) => chatId === state.chatId && isFromBot(message) && show());
  on("connection", (isUp) => {
    banner.hidden = isUp;
    banner.textContent = isUp ? "" : text("lost");
  });
  return element("header", {}, element("div", { className: "bar" }, avatar, element("div", { className: "names" }, title, status), ...buttons, colours), banner);
}

function show() {
  clearTimeout(timer);
  const shown = chat();
  const isPrivate = shown.type === "private";
  const topic = shown.topics.find(({ message_thread_id: id }) => id === state.threadId);
  title.textContent = isPrivate ? state.bot.first_name : (topic?.name ?? shown.title ?? "");
  avatar.textContent = initial(title.textContent ?? "");
  avatar.classList.toggle("is-bot", isPrivate);
  const members = text("members", { count: shown.member_ids.length });
  status.textContent = isPrivate ? text("bot") : topic ? `${shown.title} · ${members}` : members;
  status.classList.remove("acting");
  labelColours();
}

/** @param {string} action */
function showAction(action) {
  const name = action.startsWith("record") ? "recordingAction" : action === "typing" ? "typing" : "uploading";
  status.textContent = text(name);
  status.classList.add("acting");
  clearTimeout(timer);
  timer = setTimeout(show, ACTION_MS);
}

/** @param {string | null} colour  day, night, or null for the system's */
function useColours(colour) {
  if (colour) document.documentElement.dataset.colours = colour;
}

export function isNight() {
  const chosen = document.documentElement.dataset.colours;
  return chosen ? chosen === "night" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function switchColours() {
  const colour = isNight() ? "day" : "night";
  localStorage.setItem("colours", colour);
  useColours(colour);
  labelColours();
  dispatchEvent(new Event("resize")); // waveforms are drawn in these colours
}

function labelColours() {
  relabel(colours, isNight() ? "day" : "night", text(isNight() ? "day" : "night"));
}
