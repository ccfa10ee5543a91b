/** The controls below the waveform: play, the loop, the speed, and sending the mix to the chat. */

import { element, iconButton, relabel } from "./dom.js";
import { toast } from "./notices.js";
import { RefusedError } from "./server.js";
import { text } from "./texts.js";

/** In percent. */
const SLOWEST = 50;
const FASTEST = 125;
const STEP = 5;

/** @param {import("./player.js").Player} player */
export function controls(player) {
  const play = iconButton("play", text("play"), () => player.togglePlay(), { className: "play" });
  const marks = /** @type {const} */ (["start", "end"]).map((which) => element("button", {
    type: "button",
    className: "letter",
    title: text(`loop_${which}`),
    "aria-label": text(`loop_${which}`),
    onclick: () => player.mark({ [which]: player.transport.position }),
  }, which === "start" ? "A" : "B"));
  const clear = iconButton("close", text("loop_clear"), () => player.clearLoop());
  const speed = element("input", { type: "range", min: String(SLOWEST), max: String(FASTEST), step: String(STEP), "aria-label": text("speed") });
  const percent = element("span", { className: "level", "aria-hidden": "true" });
  speed.addEventListener("input", () => label(speed.valueAsNumber));
  speed.addEventListener("change", () => void player.setSpeed(speed.valueAsNumber));
  const box = element("div", { className: "controls" },
    play,
    element("div", { className: "loop-buttons", role: "group", "aria-label": text("loop") }, ...marks, clear),
    element("div", { className: "speed", hidden: !player.mix.canRestorePitch }, element("span", { "aria-hidden": "true" }, text("speed")), speed, percent));

  /** @param {number} value */
  function label(value) {
    percent.textContent = `${value} %`;
    speed.setAttribute("aria-valuetext", `${value} %`);
  }
  function show() {
    const { isPlaying } = player.transport;
    relabel(play, isPlaying ? "pause" : "play", text(isPlaying ? "pause" : "play"));
    marks[0].setAttribute("aria-pressed", String(player.marks.start !== undefined));
    marks[1].setAttribute("aria-pressed", String(player.marks.end !== undefined));
    clear.disabled = player.marks.start === undefined && player.marks.end === undefined;
    speed.value = String(player.speed);
    label(player.speed);
  }
  return { box, show, play };
}

/**
 * @param {import("./player.js").Player} player
 * @param {import("./server.js").Server} server
 * @param {(error: unknown) => void} onerror  for what ends the session
 */
export function sendButton(player, server, onerror) {
  const button = element("button", { type: "button", className: "primary send", onclick: send }, text("send"));
  async function send() {
    if (button.ariaBusy === "true") return;
    if (player.objection) return toast(text(player.objection));
    button.ariaBusy = "true";
    try {
      await server.send(player.recipe);
      toast(text("sent"));
    } catch (error) {
      if (error instanceof RefusedError && ["too_many", "refused"].includes(error.code)) toast(text(error.code));
      else onerror(error);
    } finally {
      button.ariaBusy = null;
    }
  }
  return button;
}
