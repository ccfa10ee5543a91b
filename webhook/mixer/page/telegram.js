/**
 * The Telegram app around the page: what it hands over in the address' fragment, its colours, and events to it
 * (https://core.telegram.org/api/web-events, https://core.telegram.org/bots/webapps). Its script is not needed for that.
 */

/** Telegram's colours and what they are here. */
const COLOURS = {
  bg_color: "--page",
  secondary_bg_color: "--surface",
  text_color: "--text",
  button_color: "--accent",
  button_text_color: "--on-accent",
};
const host = /** @type {any} */ (window);

/** Return what the app signed about the user, or "" outside of Telegram. */
export function initData() {
  return launched().get("tgWebAppData") ?? "";
}

/** Take on the app's colours, now and whenever they change; tell it that the page is there. */
export function connect() {
  useTheme(launched().get("tgWebAppThemeParams"));
  host.Telegram = { WebView: { receiveEvent } }; // called by apps on phones,
  host.TelegramGameProxy = { receiveEvent }; // and on desktops
  addEventListener("message", ({ source, data }) => {
    if (source !== window.parent || typeof data !== "string") return;
    const { eventType, eventData } = parsed(data);
    receiveEvent(eventType, eventData);
  });
  post("web_app_ready");
  post("web_app_expand");
  post("web_app_setup_swipe_behavior", { allow_vertical_swipe: false }); // faders are dragged
}

function launched() {
  return new URLSearchParams(location.hash.slice(1));
}

/**
 * @param {string} eventType
 * @param {object} [eventData]
 */
function post(eventType, eventData = {}) {
  if (host.TelegramWebviewProxy) host.TelegramWebviewProxy.postEvent(eventType, JSON.stringify(eventData));
  else if (window.parent !== window) window.parent.postMessage(JSON.stringify({ eventType, eventData }), "*");
}

/**
 * @param {unknown} eventType
 * @param {any} eventData
 */
function receiveEvent(eventType, eventData) {
  if (eventType === "theme_changed") useTheme(JSON.stringify(eventData?.theme_params));
}

/** @param {string | null | undefined} json */
function useTheme(json) {
  const theme = parsed(json ?? "");
  const { style, dataset } = document.documentElement;
  for (const [name, property] of Object.entries(COLOURS)) {
    if (/^#[0-9a-f]{6}$/i.test(theme[name])) style.setProperty(property, theme[name]);
  }
  const [page, button] = [theme.bg_color, theme.button_color].map(luminance);
  if (page !== undefined) dataset.colours = page < 0.18 ? "night" : "day";
  // White on Telegram's own blue is hard to read.
  const written = luminance(theme.button_text_color) ?? 1;
  if (button !== undefined && contrast(button, written) < 4.5) style.setProperty("--on-accent", contrast(button, 0) > contrast(button, 1) ? "#000000" : "#ffffff");
  dispatchEvent(new Event("resize")); // waveforms are drawn in these colours
}

/**
 * Return how bright a colour is, from 0 to 1 (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance).
 * @param {unknown} colour  #rrggbb
 */
function luminance(colour) {
  if (typeof colour !== "string" || !/^#[0-9a-f]{6}$/i.test(colour)) return undefined;
  const [red, green, blue] = [1, 3, 5].map((at) => (parseInt(colour.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** @param {number} one @param {number} other */
function contrast(one, other) {
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}

/** @param {string} json @returns {Record<string, any>} */
function parsed(json) {
  try {
    return JSON.parse(json) ?? {};
  } catch {
    return {};
  }
}
