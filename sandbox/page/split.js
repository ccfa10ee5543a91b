/** The sounds of a split, decoded whole, and the song before it was split, in step. */

import { Mix } from "/mixer/static/mix.js";
import { Transport } from "/mixer/static/transport.js";
import { fileUrl } from "./api.js";

/** @typedef {import("/mixer/static/mix.js").Track} Track */

export class Split {
  /** @type {Track | undefined} the song before it was split; heard only alone */ original;
  /** @type {Map<Track, AudioBuffer>} */ #buffers = new Map();

  /** @param {BaseAudioContext} [context] */
  constructor(context = new AudioContext()) {
    this.mix = new Mix(context);
    this.transport = new Transport(this.mix, {
      pieceFrames: Infinity,
      ahead: 1,
      onready: () => {},
      has: (track) => this.#buffers.has(track),
      get: (track) => this.#buffers.get(track),
      want: () => {},
    });
  }

  /**
   * Decode all sounds; returns the stems. Rejected when one does not decode.
   * @param {string[]} fileIds
   * @param {string | undefined} originalId
   */
  async load(fileIds, originalId) {
    const stems = await Promise.all(fileIds.map((fileId) => this.#decode(fileId)));
    const song = originalId && (await this.#decode(originalId).catch(() => undefined)); // a video, say
    const tracks = stems.map((buffer) => this.#add(buffer));
    if (song) this.original = this.#add(song, { isMuted: true });
    return tracks;
  }

  /** Release the sounds, which take twenty megabytes a minute each. */
  close() {
    this.transport.pause();
    this.#buffers.clear();
    if (this.mix.context instanceof AudioContext) void this.mix.context.close();
  }

  /**
   * @param {AudioBuffer} buffer
   * @param {{ isMuted?: boolean }} [values]
   */
  #add(buffer, values) {
    const track = this.mix.add(buffer.length, values);
    this.#buffers.set(track, buffer);
    return track;
  }

  /** @param {string} fileId */
  async #decode(fileId) {
    const answer = await fetch(fileUrl(fileId));
    return this.mix.context.decodeAudioData(await answer.arrayBuffer());
  }
}
