/** A stem's controls: mute, solo, level, and its waveform to seek in. */

import { element } from "./dom.js";
import { OFF_DB } from "./mix.js";
import { decibels, text } from "./texts.js";
import { draw } from "./waveform.js";

const LOUDEST_DB = 6;
const QUIETEST_DB = -40;
/** Of the peaks that the server sends, in dB above the quietest. */
const LOUDEST_PEAK = 63;

/** @typedef {{ row: HTMLElement, mute: HTMLElement, show: () => void, addPeaks: () => void, draw: (played: number) => void }} StemRow */

/**
 * @param {import("./player.js").Player} player
 * @param {number} index
 * @returns {StemRow}
 */
export function stemRow(player, index) {
  const track = player.mix.tracks[index];
  const { name } = player.song.stems[index];
  let levels = levelsOf(player.song.stems[index].peaks);
  const mute = letter("M", text("mute", { name }), () => player.set(index, { isMuted: !track.isMuted }));
  const solo = letter("S", text("solo", { name }), () => player.set(index, { isSolo: !track.isSolo }));
  const volume = element("input", {
    type: "range",
    min: String(QUIETEST_DB - 1),
    max: String(LOUDEST_DB),
    "aria-label": text("volume", { name }),
    oninput: () => player.set(index, { db: volume.valueAsNumber < QUIETEST_DB ? OFF_DB : volume.valueAsNumber }),
    ondblclick: () => player.set(index, { db: 0 }),
  });
  const level = element("span", { className: "level", "aria-hidden": "true" });
  const canvas = element("canvas", { "aria-hidden": "true", onclick: (/** @type {MouseEvent} */ event) => {
    player.transport.seek((event.offsetX / canvas.clientWidth) * player.transport.length);
  } });
  const row = element("div", { className: "stem", role: "group", "aria-label": name },
    element("div", { className: "stem-name", dir: "auto", title: name }, name),
    element("div", { className: "stem-buttons" }, mute, solo, level),
    volume,
    element("div", { className: "wave" }, canvas));

  function show() {
    const said = track.db <= OFF_DB ? text("off") : decibels(track.db);
    mute.setAttribute("aria-pressed", String(track.isMuted));
    solo.setAttribute("aria-pressed", String(track.isSolo));
    volume.value = String(track.db <= OFF_DB ? QUIETEST_DB - 1 : track.db);
    volume.setAttribute("aria-valuetext", said);
    level.textContent = said;
    row.classList.toggle("silent", !player.mix.isHeard(track));
  }
  function addPeaks() {
    levels = levelsOf(player.song.stems[index].peaks);
  }
  return { row, mute, show, addPeaks, draw: (played) => draw(canvas, levels, played, 1) };
}

/**
 * Return the heights of a waveform, from 0 to 1.
 * @param {number[] | null} peaks
 */
export function levelsOf(peaks) {
  return (peaks ?? []).map((peak) => (peak / LOUDEST_PEAK) ** 2);
}

/**
 * @param {string} shown
 * @param {string} label
 * @param {() => void} onclick
 */
function letter(shown, label, onclick) {
  return element("button", { type: "button", className: "letter", title: label, "aria-label": label, onclick }, shown);
}
