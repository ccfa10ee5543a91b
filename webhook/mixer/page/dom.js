/** Building elements. Text is only ever set as text, so that no message can become markup. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Create an element. Of `properties`, `onclick` and the like are listeners; names with a hyphen, `role` and `for` are
 * attributes; all others are properties, such as `className`. Those that are undefined are left out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for" || name === "popover") made.setAttribute(name, value);
    else /** @type {any} */ (made)[name] = value;
  }
  for (const child of children) if (child) made.append(child);
  return made;
}

/**
 * Return the first character of a name, for an avatar; an emoji is one of several code units.
 * @param {string} name
 */
export function initial(name) {
  const [first] = new Intl.Segmenter().segment(name.trim());
  return first?.segment.toUpperCase() ?? "";
}

/** Outlines of 24 × 24. */
const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M7 5h4v14H7zM13 5h4v14h-4z",
  send: "M3 20.5l18-8.5L3 3.5l2.5 7L14 12l-8.5 1.5z",
  mic: "M12 15a3 3 0 0 0 3-3V6a3 3 0 1 0-6 0v6a3 3 0 0 0 3 3zm6-3a6 6 0 0 1-5 5.9V21h-2v-3.1A6 6 0 0 1 6 12h2a4 4 0 0 0 8 0z",
  stop: "M6 6h12v12H6z",
  attach: "M17 7v9.5a5 5 0 0 1-10 0V6a3.5 3.5 0 0 1 7 0v9.5a2 2 0 0 1-4 0V7H8.500v8.500a3.500 3.500 0 0 0 7 0V6a5 5 0 0 0-10 0v10.500a6.500 6.500 0 0 0 13 0V7z",
  menu: "M4 6h16v2H4zm0 5h16v2H4zm0 5h16v2H4z",
  more: "M12 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4zm0 6a2 2 0 1 0 0-4 2 2 0 0 0 0 4zm0 6a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  down: "M12 15.500L5.500 9l1.400-1.400 5.100 5.100 5.100-5.100L18.500 9z",
  download: "M11 4h2v8.200l3.100-3.100 1.400 1.400-5.500 5.500-5.500-5.500 1.400-1.400 3.100 3.100zM5 18h14v2H5z",
  close: "M6.400 5L12 10.600 17.600 5 19 6.400 13.400 12l5.600 5.600-1.400 1.400-5.600-5.600L6.400 19 5 17.600l5.600-5.600L5 6.400z",
  back: "M15.500 5.400L14.100 4 6 12l8.100 8 1.400-1.400L9 12z",
  day: "M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM11 1h2v4h-2zm0 18h2v4h-2zM1 11h4v2H1zm18 0h4v2h-4zM3.500 4.900l1.400-1.400 2.800 2.800-1.400 1.400zm12.800 12.800l1.400-1.400 2.800 2.800-1.400 1.400zM3.500 19.100l2.800-2.800 1.400 1.400-2.800 2.800zM16.300 6.300l2.800-2.800 1.400 1.400-2.800 2.800z",
  night: "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z",
  file: "M6 2h8l5 5v15H6zm7 1.500V8h4.500z",
  add: "M11 4h2v7h7v2h-7v7h-2v-7H4v-2h7z",
  note: "M9 17.500a3 3 0 1 1-2-2.800V5l12-2v11.500a3 3 0 1 1-2-2.800V7.300L9 8.700z",
  people: "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zm0 2c-4 0-8 2-8 5v2h16v-2c0-3-4-5-8-5zm8-2a3 3 0 1 0-1-5.800 6 6 0 0 1-.7 5.300c.5.300 1.100.5 1.700.5zm1.500 2.200A6.500 6.500 0 0 1 19 18v2h4v-2c0-2.300-2-4-4.500-4.800z",
  tune: "M4 4h2v8H4zm0 12h2v4H4zm-1-3h4v2H3zM11 4h2v3h-2zm0 7h2v9h-2zm-1-3h4v2h-4zM18 4h2v9h-2zm0 13h2v3h-2zm-1-3h4v2h-4z",
  keyboard: "M2 5h20v14H2zm2 2v10h16V7zm1.500 1.500h2v2h-2zm3.500 0h2v2H9zm3.500 0h2v2h-2zm3.500 0h2v2h-2zM5.500 12h2v2h-2zm3.500 0h6v2H9zm7.500 0h2v2h-2z",
  bench: "M3 4h18v16H3zm2 4v10h14V8zm2 2l3 2.500L7 15v-1.800l1.400-.700L7 11.800zm4 4h5v1.300h-5z",
};
/** @typedef {keyof typeof ICONS} Icon */

/**
 * Draw an icon that screen readers pass over.
 * @param {Icon} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Create a round button that shows only an icon.
 * @param {Icon} name
 * @param {string} label  for screen readers, and as a tooltip
 * @param {(event: MouseEvent) => void} onclick
 * @param {Record<string, any>} [properties]
 */
export function iconButton(name, label, onclick, properties = {}) {
  return element("button", { type: "button", className: "icon-button", title: label, "aria-label": label, onclick, ...properties }, icon(name));
}

/**
 * Give a button another icon and label, unless it has them.
 * @param {HTMLElement} button
 * @param {Icon} name
 * @param {string} label
 */
export function relabel(button, name, label) {
  if (button.getAttribute("aria-label") === label) return;
  button.title = label;
  button.setAttribute("aria-label", label);
  button.replaceChildren(icon(name));
}
