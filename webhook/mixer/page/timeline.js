/** The whole song's waveform: the position in it, and the loop, which is dragged over the strip above it. */

import { element } from "./dom.js";
import { say } from "./notices.js";
import { levelsOf } from "./stem_row.js";
import { clock, text } from "./texts.js";
import { draw } from "./waveform.js";

/** One press of an arrow on a mark, in seconds where no tempo is known. */
const STEP_S = 0.5;

/** @param {import("./player.js").Player} player */
export function timeline(player) {
  const { transport, song } = player;
  /** @type {number[]} */ let levels;
  addPeaks();
  const canvas = element("canvas", { "aria-hidden": "true" });
  const times = element("span", { className: "times" });
  const range = element("input", { type: "range", min: "0", step: "any", "aria-label": text("position") });
  range.addEventListener("input", () => draw_(range.valueAsNumber));
  range.addEventListener("change", () => transport.seek(range.valueAsNumber));
  range.addEventListener("keydown", (event) => {
    if (event.key in { ArrowLeft: 1, ArrowRight: 1 }) event.preventDefault(); // the page's keys
  });
  const area = element("div", { className: "loop-area", hidden: true });
  const marks = { start: mark("start"), end: mark("end") };
  const strip = element("div", { className: "loop-strip", title: text("loop") }, area, marks.start, marks.end);
  dragOver(strip, (one, other) => player.mark({ start: Math.min(one, other), end: Math.max(one, other) }));
  const box = element("div", { className: "timeline" }, strip, element("div", { className: "wave" }, canvas, range), times);

  /** @param {number} position */
  function draw_(position) {
    range.setAttribute("aria-valuetext", text("at", { at: clock(position), length: clock(transport.length) }));
    times.textContent = `${clock(position)} / ${clock(transport.length)}`;
    draw(canvas, levels, transport.length ? position / transport.length : 0, 1);
  }

  /** @param {"start" | "end"} which */
  function mark(which) {
    const made = element("button", { type: "button", className: "mark", role: "slider", "aria-label": text(`loop_${which}`), "aria-valuemin": "0", hidden: true }, which === "start" ? "A" : "B");
    made.addEventListener("keydown", (event) => {
      const direction = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (!direction) return;
      event.preventDefault();
      event.stopPropagation();
      const stepS = song.facts?.bpm ? 60 / song.facts.bpm : STEP_S;
      player.mark({ [which]: Math.max(0, (player.marks[which] ?? 0) + direction * stepS) });
    });
    return made;
  }

  /**
   * Follow a pointer over the strip: it moves the mark where it began, or spans a new loop.
   * @param {HTMLElement} strip_
   * @param {(one: number, other: number) => void} span
   */
  function dragOver(strip_, span) {
    const at = (/** @type {PointerEvent} */ event) => {
      const { left, width } = strip_.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - left) / width)) * transport.length;
    };
    strip_.addEventListener("pointerdown", (down) => {
      const began = at(down);
      const moved = /** @type {const} */ (["start", "end"]).find((which) => marks[which] === down.target);
      const other = moved && player.marks[moved === "start" ? "end" : "start"];
      strip_.setPointerCapture(down.pointerId);
      const follow = (/** @type {PointerEvent} */ event) => {
        if (Math.abs(event.clientX - down.clientX) < 4) return;
        if (moved && other === undefined) player.mark({ [moved]: at(event) });
        else span(other ?? began, at(event));
      };
      strip_.addEventListener("pointermove", follow);
      strip_.addEventListener("lostpointercapture", () => strip_.removeEventListener("pointermove", follow), { once: true });
    });
  }

  let said = "";
  function show() {
    for (const [which, made] of Object.entries(marks)) {
      const seconds = player.marks[/** @type {"start" | "end"} */ (which)];
      made.hidden = seconds === undefined;
      if (seconds === undefined) continue;
      made.style.left = percent(seconds);
      made.setAttribute("aria-valuemax", String(transport.length));
      made.setAttribute("aria-valuenow", seconds.toFixed(2));
      made.setAttribute("aria-valuetext", clock(seconds));
    }
    const { loop } = player;
    area.hidden = !loop;
    if (loop) {
      area.style.left = percent(loop.start);
      area.style.width = percent(loop.end - loop.start);
    }
    const now = loop ? text("looping", { start: clock(loop.start), end: clock(loop.end) }) : "";
    if (now && now !== said) say(now);
    said = now;
  }
  const percent = (/** @type {number} */ seconds) => `${(100 * seconds) / transport.length}%`;

  /** @param {number} position  in seconds */
  function follow(position) {
    if (range.matches(":active")) return; // it is being dragged
    range.max = String(transport.length);
    range.value = String(position);
    draw_(position);
  }
  function addPeaks() {
    levels = loudest(song.stems.map(({ peaks }) => levelsOf(peaks)));
  }
  return { box, show, follow, addPeaks };
}

/** @param {number[][]} stems */
function loudest(stems) {
  const length = Math.max(0, ...stems.map((peaks) => peaks.length));
  return Array.from({ length }, (_, at) => Math.max(0, ...stems.map((peaks) => peaks[at] ?? 0)));
}
