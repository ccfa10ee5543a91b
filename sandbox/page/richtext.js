/** A message's text with its links, commands and mentions. */

import { element } from "/mixer/static/dom.js";
import { toast } from "./notices.js";
import { attempt, select, state } from "./store.js";
import { call } from "./api.js";
import { text } from "./texts.js";

/**
 * Return the parts of a text; entities are in UTF-16 units, as JavaScript's strings.
 * @param {string} content
 * @param {import("./store.js").Entity[]} entities
 */
export function richText(content, entities) {
  const parts = [];
  let end = 0;
  for (const entity of entities) {
    if (entity.offset < end) continue;
    const piece = content.slice(entity.offset, entity.offset + entity.length);
    parts.push(content.slice(end, entity.offset), part(entity, piece));
    end = entity.offset + entity.length;
  }
  return [...parts, content.slice(end)];
}

/** @type {Record<string, keyof HTMLElementTagNameMap>} */
const FORMATS = {
  bold: "b", italic: "i", underline: "u", strikethrough: "s", code: "code", pre: "code", blockquote: "blockquote", expandable_blockquote: "blockquote",
};

/**
 * @param {import("./store.js").Entity} entity
 * @param {string} piece
 */
function part({ type: kind, url }, piece) {
  const href = kind === "url" ? piece : kind === "text_link" && url?.startsWith("http") ? url : "";
  if (href) return element("a", { href, target: "_blank", rel: "noopener noreferrer", onclick: onLink }, piece);
  if (FORMATS[kind]) return element(FORMATS[kind], {}, piece);
  if (kind === "bot_command") return element("button", { type: "button", className: "link", onclick: () => say(piece) }, piece);
  if (kind === "mention") return element("span", { className: "mention" }, piece);
  return piece;
}

/** @param {MouseEvent} event */
function onLink(event) {
  const link = /** @type {HTMLAnchorElement} */ (event.currentTarget);
  if (openTelegramLink(link.href)) event.preventDefault();
}

/**
 * Follow a link to our own bot, such as an invitation's, within the page; returns whether it is one.
 * @param {string} url
 */
export function openTelegramLink(url) {
  const parsed = new URL(url);
  if (parsed.host !== "t.me") return false;
  const start = parsed.searchParams.get("start");
  if (parsed.pathname.slice(1) === state.bot.username) void openBot(start);
  else toast(text("foreignLink", { url }));
  return true;
}

/** @param {string | null} parameter */
async function openBot(parameter) {
  await attempt(() => select(state.me, state.me));
  await say(parameter ? `/start ${parameter}` : "/start");
}

/**
 * Send a text of the person to the shown chat.
 * @param {string} content
 */
export function say(content) {
  const place = { user_id: state.me, thread_id: state.threadId || null };
  return attempt(() => call("POST", `${state.chatId}/messages`, { text: content, ...place }));
}
