/**
 * Plays the sounds of a mix in step: all are started at exact times of one audio context's clock, piece by piece. A row
 * is one piece of all sounds; it is scheduled when all that are heard have it, so that none can fall behind.
 */

import { piecesFrom, spanAt } from "./spans.js";

/** Time for the browser to prepare sources before they sound. */
const LEAD_S = 0.05;
/** A page in the background is woken once a second. */
const HORIZON_S = 2.5;
const TICK_MS = 100;

/** @typedef {import("./mix.js").Track} Track @typedef {import("./spans.js").Span} Span @typedef {import("./spans.js").Loop} Loop */
/** @typedef {"paused" | "waiting" | "playing"} State  `waiting`: for sounds that are not there yet */
/** @typedef {Span & { start: number, sources: Map<Track, AudioBufferSourceNode> }} Row  `start` in frames of the context */
/**
 * What holds the decoded sounds. `has` is true for pieces after the sound's end, too, once that is known; `want` gets what is needed in
 * the order of need, and which pieces may be kept.
 * @typedef {{ pieceFrames: number, ahead: number, onready: () => void, has: (track: Track, piece: number) => boolean,
 *   get: (track: Track, piece: number, isJoined: boolean) => AudioBuffer | undefined,
 *   want: (needed: [Track, number][], kept: Set<number>) => void }} Sounds
 */

export class Transport {
  /** @type {State} */ state = "paused";
  /** @type {number} how fast the song is played; 1: as it is */ rate = 1;
  /** Called when the state changes, after a seek, and when more sounds are there, which may correct the length. */
  onchange = () => {};
  /** @type {Loop | undefined} in frames */ #loop;
  /** @type {Row[]} those that sound, and later ones */ #rows = [];
  #cursor = 0; // the song's frame that is scheduled next
  #base = 0; // the context's frame at which the first row of this run started
  #done = 0; // the song's frames that were scheduled since
  #timer = 0;

  /**
   * @param {import("./mix.js").Mix} mix
   * @param {Sounds} sounds
   */
  constructor(mix, sounds) {
    this.mix = mix;
    this.sounds = sounds;
    this.context = mix.context;
    mix.onchange = () => this.tick();
    sounds.onready = () => {
      this.tick();
      this.onchange();
    };
  }

  /** In seconds, as all times that callers see. */
  get length() {
    return this.mix.frames / this.context.sampleRate;
  }

  get position() {
    return this.#frameAt(this.context.currentTime) / this.context.sampleRate;
  }

  get isPlaying() {
    return this.state !== "paused";
  }

  play() {
    if (this.isPlaying) return;
    if (this.#cursor >= this.mix.frames) this.#cursor = 0;
    if (this.context instanceof AudioContext) {
      void this.context.resume();
      this.#timer = setInterval(() => this.tick(), TICK_MS);
    }
    this.#change("waiting");
    this.tick();
  }

  pause() {
    if (!this.isPlaying) return;
    this.#cut();
    clearInterval(this.#timer);
    this.#change("paused");
  }

  /** @param {number} seconds */
  seek(seconds) {
    const frame = Math.round(seconds * this.context.sampleRate);
    this.#restart(() => (this.#cursor = Math.max(0, Math.min(frame, this.mix.frames))));
  }

  /** @param {number} rate  other than 1 only after `mix.prepareRestorer` */
  setRate(rate) {
    if (rate === this.rate) return;
    this.#restart((at) => {
      this.rate = rate;
      this.mix.restorePitch(1 / rate, at);
    });
  }

  /**
   * Play a part of the song again and again, without a gap; the song from its start if it is beyond it.
   * @param {Loop | undefined} loop  in seconds
   */
  setLoop(loop) {
    const frame = (/** @type {number} */ seconds) => Math.min(this.mix.frames, Math.round(seconds * this.context.sampleRate));
    this.#loop = loop && { start: frame(loop.start), end: frame(loop.end) };
    this.#replan();
    if (this.#loop && this.#cursor >= this.#loop.end) this.seek(this.#loop.start / this.context.sampleRate);
    this.tick();
  }

  /** Schedule what is due, and ask for what is needed next. */
  tick() {
    const now = this.context.currentTime * this.context.sampleRate;
    while (this.#rows.length > 1 && this.#rows[1].start < now) this.#rows.shift();
    this.#want();
    if (!this.isPlaying) return;
    if (this.state === "waiting") {
      if (this.#cursor >= this.mix.frames) return this.#end();
      if (!this.#isReady()) return;
      this.#start();
    }
    this.#joinLate(now);
    const horizon = now + HORIZON_S * this.context.sampleRate;
    while (this.#nextStart < horizon && this.#isReady()) this.#schedule(/** @type {Span} */ (spanAt(this.#cursor, this.#course)));
    if (now < this.#nextStart) return;
    this.#rows = [];
    if (this.#cursor < this.mix.frames) this.#change("waiting");
    else this.#end();
  }

  get #course() {
    return { frames: this.mix.frames, pieceFrames: this.sounds.pieceFrames, loop: this.#loop };
  }

  get #nextStart() {
    return this.#base + this.#done / this.rate;
  }

  /** @param {State} state */
  #change(state) {
    this.state = state;
    this.onchange();
  }

  /** @param {number} time */
  #frameAt(time) {
    const at = time * this.context.sampleRate;
    const row = this.#rows.findLast(({ start }) => start <= at) ?? this.#rows[0];
    if (!row) return this.#cursor;
    return Math.min(row.to, Math.max(row.from, Math.floor(row.from + (at - row.start) * this.rate)));
  }

  /** Whether all sounds of the next row are there. One that was switched on meanwhile may be late, and joins later. */
  #isReady() {
    const span = spanAt(this.#cursor, this.#course);
    if (!span) return false;
    const last = this.#rows.at(-1);
    const isLate = (/** @type {Track} */ track) => last !== undefined && !last.sources.has(track);
    return this.#heard.every((track) => this.sounds.has(track, span.piece) || isLate(track));
  }

  get #heard() {
    return this.mix.tracks.filter((track) => this.mix.isHeard(track));
  }

  #want() {
    const coming = piecesFrom(this.#cursor, this.#course, this.sounds.ahead);
    const pieces = [...new Set([...this.#rows.map(({ piece }) => piece), ...coming])].slice(0, this.sounds.ahead);
    const heard = this.#heard;
    this.sounds.want(pieces.flatMap((piece) => heard.map((track) => /** @type {[Track, number]} */ ([track, piece]))), new Set(pieces));
  }

  #start() {
    this.#base = Math.ceil((this.context.currentTime + LEAD_S) * this.context.sampleRate);
    this.#done = 0;
    this.mix.open(this.#base / this.context.sampleRate);
    this.#change("playing");
  }

  /** The song is over: stop at its start. */
  #end() {
    clearInterval(this.#timer);
    this.#cursor = 0;
    this.#change("paused");
  }

  /** @param {Span} span */
  #schedule(span) {
    /** @type {Row} */
    const row = { ...span, start: this.#nextStart, sources: new Map() };
    for (const track of this.mix.tracks) this.#sound(track, row, span.from); // also what is muted, if it is there
    this.#rows.push(row);
    this.#done += span.to - span.from;
    this.#cursor = span.next;
  }

  /** @param {number} now */
  #joinLate(now) {
    for (const row of this.#rows) {
      const earliest = now + LEAD_S * this.context.sampleRate;
      const from = row.from + Math.max(0, Math.ceil((earliest - row.start) * this.rate));
      if (from >= row.to) continue;
      for (const track of this.mix.tracks) if (!row.sources.has(track)) this.#sound(track, row, from);
    }
  }

  /**
   * Let a row be heard of a track from a frame on, if it is there.
   * @param {Track} track
   * @param {Row} row
   * @param {number} from
   */
  #sound(track, row, from) {
    const buffer = this.sounds.get(track, row.piece, this.rate !== 1);
    const offset = from % this.sounds.pieceFrames;
    if (!buffer || offset >= buffer.length) return;
    const { sampleRate } = this.context;
    const source = new AudioBufferSourceNode(this.context, { buffer, playbackRate: this.rate });
    source.connect(track.gain);
    source.start((row.start + (from - row.from) / this.rate) / sampleRate, offset / sampleRate, (row.to - from) / sampleRate);
    row.sources.set(track, source);
  }

  /** Go on elsewhere or otherwise. @param {(at: number) => void} change */
  #restart(change) {
    const at = this.#cut();
    change(at);
    this.#change(this.isPlaying ? "waiting" : "paused");
    this.tick();
  }

  /** Stop all sources after a short fade; returns the time. The next row starts where they stopped. */
  #cut() {
    const at = this.#rows.length ? this.mix.close() : this.context.currentTime;
    this.#cursor = this.#frameAt(at);
    this.#stop(at);
    this.#rows = [];
    return at;
  }

  /** @param {number} at */
  #stop(at) {
    for (const row of this.#rows) for (const source of row.sources.values()) source.stop(at);
  }

  /** Schedule anew what does not sound yet: it follows at the frame at which what sounds is stopped. */
  #replan() {
    const { sampleRate, currentTime } = this.context;
    const earliest = (currentTime + LEAD_S) * sampleRate;
    const row = this.#rows.findLast(({ start }) => start <= earliest) ?? this.#rows[0];
    if (!row) return;
    const to = Math.min(row.to, row.from + Math.max(0, Math.ceil((earliest - row.start) * this.rate)));
    this.#base = row.start + (to - row.from) / this.rate;
    this.#done = 0;
    this.#stop(this.#base / sampleRate);
    row.to = to;
    this.#rows = this.#rows.slice(0, this.#rows.indexOf(row) + 1);
    this.#cursor = to;
  }
}
