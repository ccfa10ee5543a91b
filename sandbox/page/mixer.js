/** Hearing a split: its stems together, each with mute, solo and volume, and the song before it was split. */

import { element, icon, iconButton, relabel } from "/mixer/static/dom.js";
import { followTransport } from "/mixer/static/frames.js";
import { levelOf } from "/mixer/static/mix.js";
import { draw } from "/mixer/static/waveform.js";
import { Split } from "./split.js";
import { toast } from "./notices.js";
import { LOUDEST, outlineOf } from "./outlines.js";
import { pause as pausePlayer } from "./player.js";
import { soundName, soundOf } from "./sound.js";
import { isFromBot, messageById, shownMessages } from "./store.js";
import { clock, text } from "./texts.js";

/** @typedef {import("./store.js").Message} Message @typedef {import("./store.js").Media} Media */
/** @typedef {import("/mixer/static/mix.js").Track} Track */

const dialog = element("dialog", { className: "mixer", "aria-labelledby": "mixer-title" });
/** @type {Split | undefined} */
let split;

export function addMixer() {
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    split?.close();
    split = undefined;
    dialog.replaceChildren();
  });
}

/**
 * Return the stems that came together with a message, if it is the last of at least two.
 * @param {Message} message
 * @returns {Message[]}
 */
export function stemsEndingWith(message) {
  const shown = shownMessages();
  const end = shown.findIndex(({ message_id: id }) => id === message.message_id);
  if (!isStem(message, message) || (shown[end + 1] && isStem(shown[end + 1], message))) return [];
  let start = end;
  while (start > 0 && isStem(shown[start - 1], message)) start -= 1;
  return end > start ? shown.slice(start, end + 1) : [];
}

/**
 * Whether a message is a sound of the bot for the same song as another one.
 * @param {Message} message
 * @param {Message} other
 */
function isStem(message, other) {
  const [song, otherSong] = [message, other].map((one) => one.reply_to_message?.message_id ?? 0);
  return isFromBot(message) && Boolean(message.audio) && song === otherSong;
}

/** @param {Message[]} stems */
export async function openMixer(stems) {
  pausePlayer();
  const opened = (split = new Split());
  const media = stems.map((stem) => /** @type {Media} */ (stem.audio));
  const song = stems[0].reply_to_message;
  const original = song && soundOf(messageById(song.message_id) ?? song);
  dialog.replaceChildren(head(original ? soundName(original) : text("split")), element("p", { role: "status", className: "faint" }, text("loading")));
  dialog.showModal();
  let tracks;
  try {
    tracks = await opened.load(media.map(({ file_id: id }) => id), original?.file_id);
  } catch {
    toast(text("notDecoded"));
    return dialog.close();
  }
  if (split !== opened) return opened.close(); // closed meanwhile
  show(opened, tracks, media);
}

/** @param {string} title */
function head(title) {
  return element("div", { className: "mixer-head" }, element("h2", { id: "mixer-title" }, title), iconButton("close", text("close"), () => dialog.close()));
}

/**
 * @param {Split} opened
 * @param {Track[]} tracks
 * @param {Media[]} media
 */
function show(opened, tracks, media) {
  const { transport, original } = opened;
  const play = iconButton("play", text("playAll"), () => {
    if (transport.isPlaying) transport.pause();
    else transport.play();
  }, { className: "play" });
  const times = element("span", { className: "times" });
  const seek = element("input", { type: "range", min: "0", max: String(transport.length), step: "0.1", "aria-label": text("position"), oninput: () => {
    transport.seek(Number(seek.value));
    update();
  } });
  const rows = tracks.map((track, index) => trackRow(opened, track, media[index], update));
  const bar = element("div", { className: "transport" }, play, seek, times);
  dialog.replaceChildren(/** @type {Node} */ (dialog.firstChild), bar, original ? sides(opened, update) : "", element("div", { className: "tracks" }, ...rows.map(({ row }) => row)));
  play.focus();

  function update() {
    const { isPlaying, position, length } = transport;
    relabel(play, isPlaying ? "pause" : "play", text(isPlaying ? "pauseAll" : "playAll"));
    seek.value = String(position);
    seek.setAttribute("aria-valuetext", text("at", { at: clock(position), length: clock(length) }));
    times.textContent = `${clock(position)} / ${clock(length)}`;
    for (const { draw: drawRow } of rows) drawRow();
  }
  followTransport(transport, update);
}

/**
 * Create the choice between the stems and the song.
 * @param {Split} opened
 * @param {() => void} update
 */
function sides({ mix, original }, update) {
  /** @param {boolean} hearsOriginal */
  const side = (hearsOriginal) => element("label", {},
    element("input", { type: "radio", name: "side", checked: !hearsOriginal, onchange: () => {
      mix.set(undefined, { alone: hearsOriginal ? original : undefined });
      update();
    } }),
    element("span", {}, text(hearsOriginal ? "original" : "stems")));
  return element("div", { className: "sides", role: "radiogroup", "aria-label": text("hear") }, side(false), side(true));
}

/**
 * Create a stem's controls; `draw` shows their state.
 * @param {Split} opened
 * @param {Track} track
 * @param {Media} media
 * @param {() => void} update
 */
function trackRow({ mix, transport }, track, media, update) {
  const name = /\(([^()]+)\)\s*$/.exec(soundName(media))?.[1] ?? soundName(media);
  const canvas = element("canvas", { "aria-hidden": "true", onclick: (/** @type {MouseEvent} */ event) => {
    transport.seek((event.offsetX / canvas.clientWidth) * transport.length);
    update();
  } });
  /** @type {number[]} */
  let outline = [];
  void outlineOf(media.file_id).then((found) => {
    outline = found;
    drawRow();
  });
  const mute = element("button", { type: "button", className: "letter", title: text("mute", { name }), "aria-label": text("mute", { name }), onclick: () => {
    mix.set(track, { isMuted: !track.isMuted });
    update();
  } }, "M");
  const solo = element("button", { type: "button", className: "letter", title: text("solo", { name }), "aria-label": text("solo", { name }), onclick: () => {
    mix.set(track, { isSolo: !track.isSolo });
    update();
  } }, "S");
  const volume = element("input", { type: "range", min: "0", max: "1", step: "0.01", value: "1", "aria-label": text("volume", { name }), oninput: () => mix.set(track, { db: levelOf(Number(volume.value)) }) });
  const row = element("div", { className: "track", role: "group", "aria-label": name },
    element("div", { className: "track-name" }, icon("note"), name), element("div", { className: "track-controls" }, mute, solo, volume), element("div", { className: "wave" }, canvas));

  function drawRow() {
    mute.setAttribute("aria-pressed", String(track.isMuted));
    solo.setAttribute("aria-pressed", String(track.isSolo));
    row.classList.toggle("silent", !mix.isHeard(track));
    draw(canvas, outline, transport.length ? transport.position / transport.length : 0, LOUDEST);
  }
  return { row, draw: drawRow };
}
