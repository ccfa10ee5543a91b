/** One sound at a time: starting another stops the first, and the end of one starts the next of its album. */

import { fileUrl } from "./api.js";

const audio = new Audio();
audio.preload = "auto";
/** @type {Set<() => void>} */
const listeners = new Set();
let fileId = "";
let duration = 0;
/** @type {(fileId: string) => Playable | undefined} */
let findNext = () => undefined;
/** The positions at which sounds that were left continue. @type {Map<string, number>} */
const positions = new Map();

/** @typedef {{ fileId: string, duration: number }} Playable  seconds, by the message */

for (const event of ["play", "pause", "timeupdate", "seeked", "durationchange"]) audio.addEventListener(event, notify);
audio.addEventListener("ended", () => {
  const next = findNext(fileId);
  positions.delete(fileId);
  audio.currentTime = 0;
  if (next) toggle(next);
  else notify();
});

function notify() {
  for (const listener of listeners) listener();
}

/** @param {() => void} listener  called whenever something plays, stops or moves on */
export function onPlaying(listener) {
  listeners.add(listener);
}

/** @param {typeof findNext} find */
export function setNext(find) {
  findNext = find;
}

/**
 * Return how far a sound is, in seconds.
 * @param {Playable} sound
 */
export function playing(sound) {
  const isCurrent = sound.fileId === fileId;
  return {
    isPlaying: isCurrent && !audio.paused,
    at: isCurrent ? audio.currentTime : (positions.get(sound.fileId) ?? 0),
    length: (isCurrent && Number.isFinite(audio.duration) && audio.duration) || sound.duration,
  };
}

/** @param {Playable} sound */
export function toggle(sound) {
  if (sound.fileId === fileId && !audio.paused) return audio.pause();
  load(sound);
  void audio.play().catch(notify); // a format that this browser does not play
}

/**
 * @param {Playable} sound
 * @param {number} seconds
 */
export function seek(sound, seconds) {
  if (sound.fileId === fileId) audio.currentTime = seconds;
  else positions.set(sound.fileId, seconds);
  notify();
}

export function pause() {
  audio.pause();
}

/** @param {Playable} sound */
function load(sound) {
  if (sound.fileId === fileId) return;
  if (fileId) positions.set(fileId, audio.currentTime);
  ({ fileId, duration } = sound);
  audio.src = fileUrl(fileId);
  audio.currentTime = Math.min(positions.get(fileId) ?? 0, Math.max(0, duration - 0.1));
}
