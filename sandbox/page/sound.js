/** A sound in a message: play, its outline to seek in, its title and times. */

import { draw } from "/mixer/static/waveform.js";
import { element, icon, iconButton, relabel } from "/mixer/static/dom.js";
import { fileUrl } from "./api.js";
import { LOUDEST, outlineOf } from "./outlines.js";
import { onPlaying, playing, seek, toggle } from "./player.js";
import { clock, size, text } from "./texts.js";

/** @type {Set<{ box: HTMLElement, show: () => void }>} */
const shown = new Set();

onPlaying(() => {
  for (const sound of shown) {
    if (sound.box.isConnected) sound.show();
    else shown.delete(sound);
  }
});
addEventListener("resize", () => shown.forEach((sound) => sound.show()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown.forEach((sound) => sound.show()));

/** @param {import("./store.js").Message} message */
export function soundOf(message) {
  const media = message.audio ?? message.voice;
  if (media) return media;
  return message.document?.mime_type?.startsWith("audio/") ? message.document : undefined;
}

/** @param {import("./store.js").Media} media */
export function soundName(media) {
  return media.title ?? media.file_name ?? text("voice");
}

/**
 * Create the controls of a sound.
 * @param {import("./store.js").Media} media
 */
export function soundBox(media) {
  const sound = { fileId: media.file_id, duration: media.duration ?? 0 };
  const name = soundName(media);
  const play = iconButton("play", text("play", { name }), () => toggle(sound), { className: "play" });
  if (media.thumbnail) play.append(element("img", { src: fileUrl(media.thumbnail.file_id), alt: "" }));
  const canvas = element("canvas", { "aria-hidden": "true" });
  const range = element("input", {
    type: "range",
    min: "0",
    step: "0.1",
    "aria-label": text("seek", { name }),
    oninput: () => seek(sound, Number(range.value)),
  });
  const times = element("span", { className: "times" });
  const isVoice = !media.title && !media.file_name;
  const link = element("a", {
    className: "icon-button download",
    href: fileUrl(media.file_id),
    download: media.file_name ?? "voice.ogg",
    title: text("download"),
    "aria-label": text("downloadFile", { name }),
  }, icon("download"));
  const box = element("div", { className: "sound" },
    play,
    element("div", { className: "sound-body" },
      !isVoice && element("div", { className: "sound-title" }, name, media.performer && element("span", { className: "faint" }, ` · ${media.performer}`)),
      element("div", { className: "wave" }, canvas, range),
      element("div", { className: "faint" }, times, ` · ${size(media.file_size)}`),
    ),
    link,
  );

  /** @type {number[]} */
  let outline = [];
  function show() {
    const { isPlaying, at, length } = playing(sound);
    relabelPlay(play, isPlaying, name);
    range.max = String(length || 1);
    range.value = String(at);
    range.setAttribute("aria-valuetext", text("at", { at: clock(at), length: clock(length) }));
    times.textContent = at > 0 || isPlaying ? `${clock(at)} / ${clock(length)}` : clock(length);
    draw(canvas, outline, length ? at / length : 0, LOUDEST);
  }
  shown.add({ box, show });
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    show();
    void outlineOf(media.file_id).then((found) => {
      outline = found;
      show();
    });
  }).observe(box);
  show();
  return box;
}

/**
 * @param {HTMLElement} button
 * @param {boolean} isPlaying
 * @param {string} name
 */
function relabelPlay(button, isPlaying, name) {
  const cover = button.querySelector("img");
  const label = text(isPlaying ? "pause" : "play", { name });
  if (button.getAttribute("aria-label") === label) return;
  relabel(button, isPlaying ? "pause" : "play", label);
  if (cover) button.append(cover);
}
