/** The outlines of sounds: how loud each part of them is. */

import { call } from "./api.js";

/** The highest value of an outline. */
export const LOUDEST = 255;
/** @type {Map<string, Promise<number[]>>} */
const outlines = new Map();

/**
 * Return how loud each part of a sound is, from 0 to `LOUDEST`.
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
