/** Sending files of the person: one by one, or several as one album. */

import { call } from "./api.js";
import { attempt, emit, state } from "./store.js";

/** Telegram's limit. */
const ALBUM_LENGTH = 10;
const DEMO_SONG = "demo-song.mp3";

/**
 * Send files to the shown chat in their order.
 * @param {File[]} files
 * @param {{ kind?: string, caption?: string, replyTo?: number }} [how]
 */
export async function sendFiles(files, { kind, caption, replyTo } = {}) {
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

/** Send the song that comes with stemdrop. */
export async function sendDemoSong() {
  const answer = await fetch(`/page/songs/${DEMO_SONG}`).catch(() => null);
  if (!answer?.ok) return emit("refused", "");
  await sendFiles([new File([await answer.blob()], DEMO_SONG, { type: "audio/mpeg" })]);
}
