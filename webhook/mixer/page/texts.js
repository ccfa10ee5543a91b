/** The page's texts, which come from the chat's catalogues: with the page, then in the user's own language. */

/** @type {Record<string, string>} */
let texts = {};

/**
 * @param {Record<string, string>} named
 * @param {string} language
 */
export function setTexts(named, language) {
  texts = named;
  document.documentElement.lang = language.replace("_", "-");
}

/** Use the texts in the page's own document. */
export function useFirstTexts() {
  const { content } = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=texts]"));
  setTexts(JSON.parse(content), document.documentElement.lang);
}

/**
 * Return a text with `{names}` replaced.
 * @param {string} name
 * @param {Record<string, string | number>} [values]
 */
export function text(name, values = {}) {
  return (texts[name] ?? name).replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {number} db */
export function decibels(db) {
  return `${db > 0 ? "+" : ""}${db} dB`.replace("-", "−");
}
