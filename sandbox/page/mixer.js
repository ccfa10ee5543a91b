/** Hearing a split: its stems together, each with mute, solo and volume, and the song before it was split. */

import { element, icon, iconButton, relabel } from "./dom.js";
import { Mix } from "./mix.js";
import { toast } from "./notices.js";
import { pause as pausePlayer } from "./player.js";
import { soundName, soundOf } from "./sound.js";
import { isFromBot, messageById, shownMessages } from "./store.js";
import { clock, text } from "./texts.js";
import { draw, outlineOf } from "./waveform.js";

/** @typedef {import("./store.js").Message} Message @typedef {import("./store.js").Media} Media */

const dialog = element("dialog", { className: "mixer", "aria-labelledby": "mixer-title" });
/** @type {Mix | undefined} */
let mix;

export function addMixer() {
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    mix?.close();
    mix = undefined;
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
  const opened = (mix = new Mix());
  const media = stems.map((stem) => /** @type {Media} */ (stem.audio));
  const song = stems[0].reply_to_message;
  const original = song && soundOf(messageById(song.message_id) ?? song);
  dialog.replaceChildren(head(original ? soundName(original) : text("split")), element("p", { role: "status", className: "faint" }, text("loading")));
  dialog.showModal();
  try {
    await opened.load(media.map(({ file_id: id }) => id), original?.file_id);
  } catch {
    toast(text("notDecoded"));
    return dialog.close();
  }
  if (mix !== opened) return opened.close(); // closed meanwhile
  show(opened, media, original);
}

/** @param {string} title */
function head(title) {
  return element("div", { className: "mixer-head" }, element("h2", { id: "mixer-title" }, title), iconButton("close", text("close"), () => dialog.close()));
}

/**
 * @param {Mix} mixed
 * @param {Media[]} media
 * @param {Media | undefined} original
 */
function show(mixed, media, original) {
  const play = iconButton("play", text("playAll"), () => {
    if (mixed.isPlaying) mixed.pause();
    else mixed.play();
    update();
  }, { className: "play" });
  const times = element("span", { className: "times" });
  const seek = element("input", { type: "range", min: "0", max: String(mixed.length), step: "0.1", "aria-label": text("position"), oninput: () => {
    mixed.seek(Number(seek.value));
    update();
  } });
  const rows = media.map((stem, index) => trackRow(mixed, index, stem, update));
  const transport = element("div", { className: "transport" }, play, seek, times);
  dialog.replaceChildren(/** @type {Node} */ (dialog.firstChild), transport, original && mixed.original ? sides(mixed, update) : "", element("div", { className: "tracks" }, ...rows.map(({ row }) => row)));
  play.focus();

  function update() {
    if (mixed.isPlaying && mixed.position >= mixed.length) {
      mixed.pause();
      mixed.seek(0);
    }
    relabel(play, mixed.isPlaying ? "pause" : "play", text(mixed.isPlaying ? "pauseAll" : "playAll"));
    seek.value = String(mixed.position);
    seek.setAttribute("aria-valuetext", text("at", { at: clock(mixed.position), length: clock(mixed.length) }));
    times.textContent = `${clock(mixed.position)} / ${clock(mixed.length)}`;
    for (const { draw: drawRow } of rows) drawRow();
  }
  function follow() {
    if (mix !== mixed) return;
    if (mixed.isPlaying) update();
    requestAnimationFrame(follow);
  }
  update();
  follow();
}

/**
 * Create the choice between the stems and the song.
 * @param {Mix} mixed
 * @param {() => void} update
 */
function sides(mixed, update) {
  /** @param {boolean} hearsOriginal */
  const side = (hearsOriginal) => element("label", {},
    element("input", { type: "radio", name: "side", checked: !hearsOriginal, onchange: () => {
      mixed.set(undefined, { hearsOriginal });
      update();
    } }),
    element("span", {}, text(hearsOriginal ? "original" : "stems")));
  return element("div", { className: "sides", role: "radiogroup", "aria-label": text("hear") }, side(false), side(true));
}

/**
 * Create a stem's controls; `draw` shows their state.
 * @param {Mix} mixed
 * @param {number} index
 * @param {Media} media
 * @param {() => void} update
 */
function trackRow(mixed, index, media, update) {
  const track = mixed.tracks[index];
  const name = /\(([^()]+)\)\s*$/.exec(soundName(media))?.[1] ?? soundName(media);
  const canvas = element("canvas", { "aria-hidden": "true", onclick: (/** @type {MouseEvent} */ event) => {
    mixed.seek((event.offsetX / canvas.clientWidth) * mixed.length);
    update();
  } });
  /** @type {number[]} */
  let outline = [];
  void outlineOf(media.file_id).then((found) => {
    outline = found;
    drawRow();
  });
  const mute = element("button", { type: "button", className: "letter", title: text("mute", { name }), "aria-label": text("mute", { name }), onclick: () => {
    mixed.set(track, { isMuted: !track.isMuted });
    update();
  } }, "M");
  const solo = element("button", { type: "button", className: "letter", title: text("solo", { name }), "aria-label": text("solo", { name }), onclick: () => {
    mixed.set(track, { isSolo: !track.isSolo });
    update();
  } }, "S");
  const volume = element("input", { type: "range", min: "0", max: "1", step: "0.01", value: "1", "aria-label": text("volume", { name }), oninput: () => mixed.set(track, { volume: Number(volume.value) }) });
  const row = element("div", { className: "track", role: "group", "aria-label": name },
    element("div", { className: "track-name" }, icon("note"), name), element("div", { className: "track-controls" }, mute, solo, volume), element("div", { className: "wave" }, canvas));

  function drawRow() {
    mute.setAttribute("aria-pressed", String(track.isMuted));
    solo.setAttribute("aria-pressed", String(track.isSolo));
    row.classList.toggle("silent", mixed.hearsOriginal || !mixed.isHeard(track));
    draw(canvas, outline, mixed.length ? mixed.position / mixed.length : 0);
  }
  return { row, draw: drawRow };
}
