/** Sounds that play together, in step: all are started at one time of one audio context's clock. */

import { fileUrl } from "./api.js";

/** Time for the browser to prepare all sources before the first of them sounds. */
const LEAD_S = 0.05;
/** A change of loudness in steps would click. */
const FADE_S = 0.015;

/** @typedef {{ buffer: AudioBuffer, gain: GainNode, volume: number, isMuted: boolean, isSolo: boolean }} Track */

export class Mix {
  /** @type {Track[]} */ tracks = [];
  /** @type {Track | undefined} the song before it was split */ original;
  isPlaying = false;
  hearsOriginal = false;
  /** @type {AudioBufferSourceNode[]} */ #sources = [];
  #offset = 0; // where the sound stood at `#began`
  #began = 0;

  /** @param {BaseAudioContext} [context] */
  constructor(context = new AudioContext()) {
    this.context = context;
  }

  /**
   * Decode all sounds. Rejected when one does not decode.
   * @param {string[]} fileIds
   * @param {string | undefined} originalId
   */
  async load(fileIds, originalId) {
    this.tracks = await Promise.all(fileIds.map((fileId) => this.#track(fileId)));
    if (originalId) this.original = await this.#track(originalId).catch(() => undefined); // a video, say
    this.#apply();
  }

  get length() {
    return Math.max(0, ...this.tracks.map(({ buffer }) => buffer.duration));
  }

  get position() {
    if (!this.isPlaying) return this.#offset;
    return Math.min(this.length, this.#offset + Math.max(0, this.context.currentTime - this.#began));
  }

  play() {
    if (this.position >= this.length) this.#offset = 0;
    this.#began = this.context.currentTime + LEAD_S;
    for (const { buffer, gain } of this.#all()) {
      const source = new AudioBufferSourceNode(this.context, { buffer });
      source.connect(gain);
      source.start(this.#began, Math.min(this.#offset, buffer.duration));
      this.#sources.push(source);
    }
    this.isPlaying = true;
    if (this.context instanceof AudioContext) void this.context.resume();
  }

  pause() {
    this.#offset = this.position;
    this.isPlaying = false;
    for (const source of this.#sources) source.stop();
    this.#sources = [];
  }

  /** @param {number} seconds */
  seek(seconds) {
    const wasPlaying = this.isPlaying;
    if (wasPlaying) this.pause();
    this.#offset = Math.max(0, Math.min(seconds, this.length));
    if (wasPlaying) this.play();
  }

  /**
   * Change a track, or what is heard: the stems or the song before it was split.
   * @param {Track | undefined} track
   * @param {Partial<Pick<Track, "volume" | "isMuted" | "isSolo">> & { hearsOriginal?: boolean }} change
   */
  set(track, { hearsOriginal = this.hearsOriginal, ...change }) {
    this.hearsOriginal = hearsOriginal;
    if (track) Object.assign(track, change);
    this.#apply();
  }

  /** @param {Track} track */
  isHeard(track) {
    const hasSolo = this.tracks.some(({ isSolo }) => isSolo);
    return !track.isMuted && (!hasSolo || track.isSolo);
  }

  /** Release the sounds, which take ten megabytes a minute each. */
  close() {
    if (this.isPlaying) this.pause();
    this.tracks = [];
    this.original = undefined;
    if (this.context instanceof AudioContext) void this.context.close();
  }

  #all() {
    return this.original ? [...this.tracks, this.original] : this.tracks;
  }

  #apply() {
    for (const track of this.tracks) this.#fade(track, !this.hearsOriginal && this.isHeard(track) ? track.volume : 0);
    if (this.original) this.#fade(this.original, this.hearsOriginal ? 1 : 0);
  }

  /**
   * @param {Track} track
   * @param {number} volume
   */
  #fade({ gain }, volume) {
    if (this.isPlaying) gain.gain.setTargetAtTime(volume, this.context.currentTime, FADE_S / 3);
    else gain.gain.value = volume;
  }

  /**
   * @param {string} fileId
   * @returns {Promise<Track>}
   */
  async #track(fileId) {
    const answer = await fetch(fileUrl(fileId));
    const buffer = await this.context.decodeAudioData(await answer.arrayBuffer());
    const gain = new GainNode(this.context);
    gain.connect(this.context.destination);
    return { buffer, gain, volume: 1, isMuted: false, isSolo: false };
  }
}
