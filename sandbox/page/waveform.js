/** The outline of a sound, drawn as bars, with what was played in another colour. */

import { call } from "./api.js";

const BAR_PX = 3;
const GAP_PX = 2;
/** @type {Map<string, Promise<number[]>>} */
const outlines = new Map();

/**
 * Return how loud each part of a sound is, from 0 to 255.
 * @param {string} fileId
 */
export function outlineOf(fileId) {
  let outline = outlines.get(fileId);
  if (!outline) {
    outline = call("GET", `files/${encodeURIComponent(fileId)}/outline`).catch(() => []);
    outlines.set(fileId, outline);
  }
  return /** @type {Promise<number[]>} */ (outline);
}

/**
 * Draw an outline into a canvas as wide as its box; the colours are those of its style: `color`, and its border's for what was played.
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} outline
 * @param {number} played  from 0 to 1
 */
export function draw(canvas, outline, played) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const context = canvas.getContext("2d");
  if (!context || !width) return;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const style = getComputedStyle(canvas);
  const bars = Math.floor((width + GAP_PX) / (BAR_PX + GAP_PX));
  for (let bar = 0; bar < bars; bar++) {
    const from = Math.floor((bar * outline.length) / bars);
    const to = Math.max(from + 1, Math.floor(((bar + 1) * outline.length) / bars));
    const level = outline.length ? Math.max(...outline.slice(from, to)) / 255 : 0;
    const tall = Math.max(3, level * height);
    context.fillStyle = (bar + 0.5) / bars < played ? style.borderTopColor : style.color;
    context.beginPath();
    context.roundRect(bar * (BAR_PX + GAP_PX), (height - tall) / 2, BAR_PX, tall, BAR_PX / 2);
    context.fill();
  }
}
