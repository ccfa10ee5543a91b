/** The decoded segments of stems near the position: a window of a few seconds each, so that memory does not grow. */

/** @typedef {import("./mix.js").Track} Track */
/**
 * Returns a segment's file, or why there is none; rejected when aborted.
 * @typedef {(stem: number, segment: number, signal: AbortSignal) => Promise<ArrayBuffer | string>} Fetch
 */

/** For all stems together, as 32-bit samples of two channels. */
const WINDOW_BYTES = 48e6;
const BYTES_PER_FRAME = 8;
/** Browsers open six connections to a host. */
const AT_ONCE = 6;

export class Segments {
  onready = () => {};
  /** @type {Map<string, AudioBuffer>} */ #buffers = new Map();
  /** @type {Map<string, AbortController>} */ #loading = new Map();
  /** @type {[Track, number][]} */ #queue = [];
  /** @type {Map<Track, number>} where tracks end at the latest, as far as a segment has shown it */ #ends = new Map();
  /** @type {Set<Track>} */ #missing = new Set();

  /**
   * @param {BaseAudioContext} context
   * @param {{ pieceFrames: number, stems: number, fetch: Fetch, onmissing: (track: Track, reason: string) => void,
   *   onerror: (error: unknown) => void }} options
   */
  constructor(context, { pieceFrames, stems, fetch, onmissing, onerror }) {
    this.context = context;
    this.pieceFrames = pieceFrames;
    this.fetch = fetch;
    this.onmissing = onmissing;
    this.onerror = onerror;
    const column = stems * pieceFrames * BYTES_PER_FRAME;
    /** How many segments of a stem are held: the one that sounds, and those that come. */
    this.ahead = Math.max(2, Math.min(6, Math.floor(WINDOW_BYTES / column)));
  }

  /** @param {Track} track @param {number} piece */
  has(track, piece) {
    return this.#isOver(track, piece) || this.#buffers.has(keyOf(track, piece));
  }

  /**
   * Return a segment; a joined one ends with the first frame of the next, which lies between two frames of a slower song.
   * @param {Track} track
   * @param {number} piece
   * @param {boolean} isJoined
   */
  get(track, piece, isJoined) {
    const buffer = this.#buffers.get(keyOf(track, piece));
    const next = this.#buffers.get(keyOf(track, piece + 1));
    if (!buffer || !next || !isJoined) return buffer;
    const { numberOfChannels, sampleRate, length } = buffer;
    const joined = new AudioBuffer({ numberOfChannels, sampleRate, length: length + 1 });
    for (let channel = 0; channel < numberOfChannels; channel++) {
      joined.copyToChannel(buffer.getChannelData(channel), channel);
      joined.copyToChannel(next.getChannelData(Math.min(channel, next.numberOfChannels - 1)).subarray(0, 1), channel, length);
    }
    return joined;
  }

  /**
   * Load what is needed, the first first; forget what is not kept.
   * @param {[Track, number][]} needed
   * @param {Set<number>} kept  pieces
   */
  want(needed, kept) {
    for (const key of this.#buffers.keys()) if (!kept.has(Number(key.split("/")[1]))) this.#buffers.delete(key);
    const keys = new Set(needed.map(([track, piece]) => keyOf(track, piece)));
    for (const [key, loading] of this.#loading) if (!keys.has(key)) loading.abort();
    this.#queue = needed.filter(([track, piece]) => !this.has(track, piece) && !this.#loading.has(keyOf(track, piece)));
    this.#fill();
  }

  /** Stop loading. */
  close() {
    this.want([], new Set());
  }

  /** @param {Track} track @param {number} piece */
  #isOver(track, piece) {
    return piece * this.pieceFrames >= this.#endOf(track);
  }

  /** @param {Track} track */
  #endOf(track) {
    return this.#ends.get(track) ?? Infinity;
  }

  /**
   * Correct the length of a track, which the server may name too long or too short, by a segment that has come.
   * @param {Track} track
   * @param {number} piece
   * @param {number} frames  of the segment
   */
  #measure(track, piece, frames) {
    const end = piece * this.pieceFrames + frames;
    if (frames < this.pieceFrames - 1) {
      track.frames = Math.min(end, this.#endOf(track));
      this.#ends.set(track, track.frames);
    } else if (end >= track.frames) {
      track.frames = Math.min(end + this.pieceFrames, this.#endOf(track)); // there may be one more
    }
  }

  #fill() {
    while (this.#loading.size < AT_ONCE) {
      const first = this.#queue.shift();
      if (!first) return;
      void this.#load(...first);
    }
  }

  /** @param {Track} track @param {number} piece */
  async #load(track, piece) {
    const key = keyOf(track, piece);
    const loading = new AbortController();
    this.#loading.set(key, loading);
    try {
      const encoded = await this.fetch(track.index, piece, loading.signal);
      if (typeof encoded === "string") {
        this.#measure(track, piece, 0);
        if (!this.#missing.has(track)) this.onmissing(track, encoded);
        this.#missing.add(track);
      } else {
        const buffer = await this.context.decodeAudioData(encoded);
        // Chromium counts a buffer's memory, and so frees it in time, only when its samples were asked for.
        for (let channel = 0; channel < buffer.numberOfChannels; channel++) buffer.getChannelData(channel);
        if (loading.signal.aborted) return;
        this.#buffers.set(key, buffer);
        this.#measure(track, piece, buffer.length);
      }
      this.onready();
    } catch (error) {
      if (!loading.signal.aborted) this.onerror(error);
    } finally {
      if (this.#loading.get(key) === loading) this.#loading.delete(key);
      this.#fill();
    }
  }
}

/** @param {Track} track @param {number} piece */
function keyOf({ index }, piece) {
  return `${index}/${piece}`;
}
