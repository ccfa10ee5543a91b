/** An open song: its stems in step, its loop and speed, and the recipe of what is heard. */

import { Mix, OFF_DB } from "./mix.js";
import { Segments } from "./segments.js";
import { nearestBeat } from "./spans.js";
import { Transport } from "./transport.js";

/** @typedef {import("./server.js").Song} Song @typedef {import("./server.js").Recipe} Recipe */
/** @typedef {{ start?: number, end?: number }} Marks  in seconds; a loop has both */

/** The server's segments have this rate: resampled, they would not join without a click. */
const RATE = 44100;
const SHORTEST_LOOP_S = 0.2;

export class Player {
  /** @type {Marks} */ marks = {};
  speed = 100;
  /** Called when levels, marks or the speed change. */
  onchange = () => {};
  /** Called when the speed could not be changed. */
  onspeedfailed = () => {};
  /** Called for a stem that cannot be played. @type {(name: string, reason: string) => void} */ onmissing = () => {};

  /**
   * @param {Song} song
   * @param {import("./segments.js").Fetch} fetch
   * @param {(error: unknown) => void} onerror
   * @param {BaseAudioContext} [context]
   */
  constructor(song, fetch, onerror, context = new AudioContext({ sampleRate: RATE })) {
    this.song = song;
    this.mix = new Mix(context);
    const pieceFrames = Math.round(song.segment_s * context.sampleRate);
    const sounds = new Segments(context, { pieceFrames, stems: song.stems.length, fetch, onmissing: ({ index }, reason) => this.onmissing(song.stems[index].name, reason), onerror });
    for (const { duration_s: seconds } of song.stems) this.mix.add(Math.round(seconds * context.sampleRate));
    this.transport = new Transport(this.mix, sounds);
    this.close = () => {
      this.transport.pause();
      sounds.close();
    };
    context.addEventListener("statechange", () => {
      // The system took the sound away: a call, say.
      if (context.state !== "running" && context instanceof AudioContext) this.transport.pause();
    });
    this.transport.tick(); // loads the beginning
  }

  get loop() {
    const { start, end } = this.marks;
    return start !== undefined && end !== undefined ? { start, end } : undefined;
  }

  togglePlay() {
    if (this.transport.isPlaying) this.transport.pause();
    else this.transport.play();
  }

  /** @param {number} seconds */
  skip(seconds) {
    this.transport.seek(this.transport.position + seconds);
  }

  /**
   * Change a stem's level, mute or solo.
   * @param {number} index
   * @param {Partial<Pick<import("./mix.js").Track, "db" | "isMuted" | "isSolo">>} change
   */
  set(index, change) {
    this.mix.set(this.mix.tracks[index], change);
    this.onchange();
  }

  /**
   * Set the start or the end of the loop, or both, at the nearest beat. A mark on the wrong side of the other removes it.
   * @param {Marks} marks
   */
  mark(marks) {
    /** @type {(seconds: number | undefined) => number | undefined} */
    const onBeat = (seconds) => seconds && Math.min(nearestBeat(seconds, this.song.facts), this.transport.length);
    const set = { start: marks.start === 0 ? 0 : onBeat(marks.start), end: onBeat(marks.end) };
    const start = set.start ?? this.marks.start;
    const end = set.end ?? this.marks.end;
    const isTooShort = start !== undefined && end !== undefined && end - start < SHORTEST_LOOP_S;
    this.#setMarks(isTooShort ? (set.start === undefined ? { end } : { start }) : { start, end });
  }

  clearLoop() {
    this.#setMarks({});
  }

  /** Set the loop's start here, then its end, then remove it. */
  stepLoop() {
    const { position } = this.transport;
    if (this.loop) this.clearLoop();
    else this.mark(this.marks.start === undefined ? { start: position } : { end: position });
  }

  /** Set the speed; it stays as it was if the sound cannot be prepared for that. @param {number} percent */
  async setSpeed(percent) {
    this.speed = percent;
    this.onchange();
    try {
      if (percent !== 100) await this.mix.prepareRestorer();
    } catch {
      const played = Math.round(this.transport.rate * 100);
      if (this.speed === played) return;
      this.speed = played;
      this.onchange();
      this.onspeedfailed();
    }
    this.transport.setRate(this.speed / 100);
  }

  /** Play the song as it is. */
  reset() {
    for (const track of this.mix.tracks) this.mix.set(track, { db: 0, isMuted: false, isSolo: false });
    void this.setSpeed(100);
  }

  /** @returns {Recipe} */
  get recipe() {
    const { tracks } = this.mix;
    const gains = this.song.stems.map(({ key }, index) => /** @type {[string, number]} */ ([key, this.mix.isHeard(tracks[index]) ? tracks[index].db : OFF_DB]));
    gains.sort(([one], [other]) => (one < other ? -1 : 1));
    return { gains: gains.filter(([, db]) => db), speed: this.speed, semitones: 0, has_count_in: false, has_metronome: false };
  }

  /** Why the mix cannot be sent as it is: a text's name, or "". */
  get objection() {
    if (!this.mix.tracks.some((track) => this.mix.isHeard(track))) return "silent";
    const { gains, speed } = this.recipe;
    return gains.length || speed !== 100 ? "" : "unchanged";
  }

  /** @param {Marks} marks */
  #setMarks(marks) {
    this.marks = marks;
    this.transport.setLoop(this.loop);
    this.onchange();
  }
}
