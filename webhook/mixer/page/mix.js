/** How loud each sound of a song is heard: level, mute and solo, through one gain a sound. */

/** A level that is not to be heard; levels are in dB. */
export const OFF_DB = -96;
/** A change of loudness in steps would click. */
const FADE_S = 0.015;
const RAMP_S = 0.005;

/** @typedef {{ index: number, frames: number, gain: GainNode, db: number, isMuted: boolean, isSolo: boolean }} Track  `frames` is its length */

/** @param {number} db */
export const amplitudeOf = (db) => (db <= OFF_DB ? 0 : 10 ** (db / 20));
/** @param {number} amplitude */
export const levelOf = (amplitude) => Math.max(OFF_DB, 20 * Math.log10(amplitude));

export class Mix {
  /** @type {Track[]} */ tracks = [];
  /** @type {Track | undefined} the only one to be heard, whatever the others say */ alone;
  /** Called when other sounds may be heard than before. */
  onchange = () => {};
  /** @type {GainNode} */ #dry;
  /** @type {GainNode} */ #wet;
  /** @type {AudioWorkletNode | undefined} */ #restorer;
  /** @type {Promise<void> | undefined} */ #preparing;
  #tries = 0;

  /** @param {BaseAudioContext} context */
  constructor(context) {
    this.context = context;
    this.gate = new GainNode(context);
    this.#dry = new GainNode(context);
    this.#wet = new GainNode(context, { gain: 0 });
    this.gate.connect(this.#dry).connect(context.destination);
  }

  /**
   * Add a sound of so many frames.
   * @param {number} frames
   * @param {Partial<Pick<Track, "db" | "isMuted" | "isSolo">>} [values]
   */
  add(frames, values = {}) {
    const gain = new GainNode(this.context);
    gain.connect(this.gate);
    const track = { index: this.tracks.length, frames, gain, db: 0, isMuted: false, isSolo: false, ...values };
    this.tracks.push(track);
    this.#apply();
    return track;
  }

  /** The length of the longest sound. */
  get frames() {
    return Math.max(0, ...this.tracks.map(({ frames }) => frames));
  }

  /**
   * Change a sound, or which one is heard alone.
   * @param {Track | undefined} track
   * @param {Partial<Pick<Track, "db" | "isMuted" | "isSolo">> & { alone?: Track | undefined }} change
   */
  set(track, change) {
    const { alone, ...values } = change;
    if ("alone" in change) this.alone = alone;
    if (track) Object.assign(track, values);
    this.#apply();
    this.onchange();
  }

  /** @param {Track} track */
  isHeard(track) {
    if (this.alone) return track === this.alone;
    const hasSolo = this.tracks.some(({ isSolo }) => isSolo);
    return !track.isMuted && track.db > OFF_DB && (!hasSolo || track.isSolo);
  }

  /** Let sound through from a time on. @param {number} at */
  open(at) {
    const { gain } = this.gate;
    gain.cancelScheduledValues(at);
    gain.setValueAtTime(0, at);
    gain.linearRampToValueAtTime(1, at + RAMP_S);
  }

  /** Let no sound through any more; returns the time from which on nothing is heard. */
  close() {
    const { gain } = this.gate;
    const now = this.context.currentTime;
    gain.cancelScheduledValues(now);
    gain.setValueAtTime(gain.value, now);
    gain.linearRampToValueAtTime(0, now + RAMP_S);
    return now + RAMP_S;
  }

  /** Whether the pitch can be restored: an address without TLS may not. */
  get canRestorePitch() {
    return this.context.audioWorklet !== undefined;
  }

  /** Prepare `restorePitch`. Rejected if that fails; the next call tries it again. */
  async prepareRestorer() {
    if (this.#restorer || !this.canRestorePitch) return;
    await (this.#preparing ??= this.#addRestorer().finally(() => (this.#preparing = undefined)));
  }

  async #addRestorer() {
    // Each try has its own address, since a browser does not load one again that has failed.
    await this.context.audioWorklet.addModule(new URL(`./pitch_worklet.js?${this.#tries++}`, import.meta.url));
    this.#restorer = new AudioWorkletNode(this.context, "pitch", { outputChannelCount: [2], channelCount: 2, channelCountMode: "explicit" });
    this.gate.connect(this.#restorer).connect(this.#wet).connect(this.context.destination);
  }

  /**
   * Multiply the pitch of what is heard by a ratio from a time on; 1 leaves the sound untouched.
   * @param {number} ratio
   * @param {number} at
   */
  restorePitch(ratio, at) {
    if (!this.#restorer) return;
    const isPlain = ratio === 1;
    /** @type {AudioParam} */ (this.#restorer.parameters.get("ratio")).setValueAtTime(ratio, at);
    this.#dry.gain.setValueAtTime(isPlain ? 1 : 0, at);
    this.#wet.gain.setValueAtTime(isPlain ? 0 : 1, at);
  }

  #apply() {
    for (const track of this.tracks) {
      const { gain } = track.gain;
      const wanted = this.isHeard(track) ? amplitudeOf(track.db) : 0;
      if (this.context.state === "running") gain.setTargetAtTime(wanted, this.context.currentTime, FADE_S / 3);
      else gain.value = wanted;
    }
  }
}
