/**
 * Restores the pitch of a song that is played slower or faster: short pieces of it are read at another speed, each from
 * where it continues the one before it best, and are faded into each other.
 */

const { registerProcessor, sampleRate } = /** @type {any} */ (globalThis);
/** @type {new () => object} */
const Processor = /** @type {any} */ (globalThis).AudioWorkletProcessor;

const GRAIN = Math.round(0.06 * sampleRate);
const FADE = Math.round(0.014 * sampleRate);
const SEARCH = Math.round(0.012 * sampleRate);
const SIZE = 1 << 15; // of the memory of what came, in frames
const MASK = SIZE - 1;
/** Of the frames that are compared, and of the places that are tried first. */
const COARSE = 8;

class Pitch extends Processor {
  static get parameterDescriptors() {
    return [{ name: "ratio", defaultValue: 1, minValue: 0.5, maxValue: 2, automationRate: "k-rate" }];
  }

  memory = [new Float32Array(SIZE), new Float32Array(SIZE)];
  ratio = 1;
  came = 0; // frames so far
  at = -1; // where the piece that is read stands, in what came
  old = -1; // and the one before it, which is faded out
  left = 0; // of the piece

  /** @param {number} ratio */
  reset(ratio) {
    this.ratio = ratio;
    this.came = this.left = 0;
    this.at = this.old = -1;
    for (const channel of this.memory) channel.fill(0);
  }

  /**
   * @param {Float32Array[][]} inputs
   * @param {Float32Array[][]} outputs
   * @param {Record<string, Float32Array>} parameters
   */
  process([input], [output], { ratio: [ratio] }) {
    if (ratio !== this.ratio) this.reset(ratio);
    if (ratio === 1) return true;
    for (let frame = 0; frame < output[0].length; frame++) {
      for (const [channel, memory] of this.memory.entries()) memory[this.came & MASK] = (input[channel] ?? input[0])?.[frame] ?? 0;
      this.came += 1;
      if (this.left <= 0) this.next();
      const faded = GRAIN - FADE - this.left;
      const share = faded < FADE ? faded / FADE : 1;
      for (const [channel, memory] of this.memory.entries()) {
        const fresh = read(memory, this.at);
        output[channel][frame] = share < 1 ? share * fresh + (1 - share) * read(memory, this.old) : fresh;
      }
      this.at += ratio;
      this.old += ratio;
      this.left -= 1;
    }
    return true;
  }

  /** Begin the next piece: what was read goes on as the old one while the new one is faded in. */
  next() {
    // What is compared now, and what is read until the piece ends, must have come by then.
    const latest = this.came - 2 - SEARCH - Math.ceil(Math.max(FADE * this.ratio, GRAIN * (this.ratio - 1)));
    this.old = this.at;
    this.at = this.old < 0 ? latest : latest + this.offset(this.old, latest);
    this.left = GRAIN - FADE;
  }

  /**
   * Return how far from a place the piece begins that resembles most what would come next.
   * @param {number} old
   * @param {number} place
   */
  offset(old, place) {
    const rough = this.best(old, place, 0, SEARCH, COARSE);
    return this.best(old, place, rough, COARSE, 1);
  }

  /**
   * @param {number} old
   * @param {number} place
   * @param {number} middle
   * @param {number} width
   * @param {number} step
   */
  best(old, place, middle, width, step) {
    const [left, right] = this.memory;
    let found = middle;
    let highest = -Infinity;
    for (let offset = middle - width; offset <= middle + width; offset += step) {
      if (Math.abs(offset) > SEARCH) continue;
      let product = 0;
      let energy = 1e-9;
      for (let frame = 0; frame < FADE * this.ratio; frame += COARSE / 2) {
        const one = Math.floor(old + frame) & MASK;
        const other = Math.floor(place + offset + frame) & MASK;
        const sum = left[other] + right[other];
        product += (left[one] + right[one]) * sum;
        energy += sum * sum;
      }
      const likeness = product / Math.sqrt(energy);
      if (likeness > highest) [highest, found] = [likeness, offset];
    }
    return found;
  }
}

/**
 * Return the value between two frames (a cubic curve through four).
 * @param {Float32Array} memory
 * @param {number} place
 */
function read(memory, place) {
  const frame = Math.floor(place);
  const part = place - frame;
  const [before, here, next, after] = [memory[(frame - 1) & MASK], memory[frame & MASK], memory[(frame + 1) & MASK], memory[(frame + 2) & MASK]];
  const bend = before - 2.5 * here + 2 * next - 0.5 * after;
  return here + part * (0.5 * (next - before) + part * (bend + part * (1.5 * (here - next) + 0.5 * (after - before))));
}

registerProcessor("pitch", Pitch);
