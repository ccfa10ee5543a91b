/** Sending files of the person: one by one, or several as one album. */

import { call } from "./api.js";
import { attempt, emit, state, whenShown } from "./store.js";

/** Telegram's limit. */
const ALBUM_LENGTH = 10;
/** The songs that come with stemdrop. */
export const SONGS = [
  { file: "demo-song.mp3", title: "Morning Line" },
  { file: "harbour-waltz.mp3", title: "Harbour Waltz" },
  { file: "night-circuit.mp3", title: "Night Circuit" },
];

/**
 * Send files to the shown chat in their order.
 * @param {File[]} files
 * @param {{ kind?: string, caption?: string, replyTo?: number }} [how]
 */
export async function sendFiles(files, { kind, caption, replyTo } = {}) {
  await whenShown;
  const { chatId, threadId, me } = state;
  for (const [index, file] of files.entries()) {
    const form = new FormData();
    form.append("file", file, file.name);
    form.append("user_id", String(me));
    if (kind) form.append("kind", kind);
    if (caption && index === 0) form.append("caption", caption);
    if (threadId) form.append("thread_id", String(threadId));
    if (replyTo) form.append("reply_to", String(replyTo));
    if (files.length > 1) form.append("media_group_id", albumOf(files, index));
    emit("sending", file.name);
    try {
      await attempt(() => call("POST", `${chatId}/files`, form));
    } finally {
      emit("sending", "");
    }
  }
}

/** @type {WeakMap<File[], number>} */
const albums = new WeakMap();

/**
 * @param {File[]} files
 * @param {number} index
 */
function albumOf(files, index) {
  if (!albums.has(files)) albums.set(files, Date.now());
  return `${albums.get(files)}${Math.floor(index / ALBUM_LENGTH)}`;
}

/**
 * Send a song that comes with stemdrop.
 * @param {string} name  of its file
 */
export async function sendOurs(name) {
  const answer = await fetch(`/page/songs/${name}`).catch(() => null);
  if (!answer?.ok) return emit("refused", "");
  await sendFiles([new File([await answer.blob()], name, { type: "audio/mpeg" })]);
}
