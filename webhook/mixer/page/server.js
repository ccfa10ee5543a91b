/** The mixer's endpoints: opening a song, its segments, and mixes for the chat. What can pass is tried again. */

/**
 * @typedef {{ key: string, name: string, duration_s: number, peaks: number[] | null }} Stem
 * @typedef {{ bpm: number | null, beat_s: number | null, key: string | null, loudness: number | null }} Facts
 * @typedef {{ token: string, language: string, texts: Record<string, string>, title: string, facts: Facts | null,
 *   duration_s: number, segment_s: number, stems: Stem[], can_send: boolean }} Song
 * @typedef {{ gains: [string, number][], speed: number, semitones: number, has_count_in: boolean, has_metronome: boolean }} Recipe
 * @typedef {"" | "offline" | "busy"} Trouble
 */

const FIRST_WAIT_S = 1;
const LONGEST_WAIT_S = 8;
/** How often, and how many times, it is asked whether a song has been measured. */
const ASK_EVERY_S = 2;
const MOST_ASKED = 20;

/** The server refused; `code` says why: `expired` is what was open before and is not any more. */
export class RefusedError extends Error {
  /** @param {string} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

export class Server {
  /** @type {Song | undefined} */ #song;
  /** @type {Promise<Song> | undefined} */ #renewal;

  /**
   * @param {string} initData  Telegram's, as it was signed
   * @param {string} job
   * @param {(trouble: Trouble) => void} ontrouble  called with "" when the server answers again
   */
  constructor(initData, job, ontrouble) {
    this.initData = initData;
    this.job = job;
    this.ontrouble = ontrouble;
  }

  /** Open the song, or renew its token. */
  async open() {
    const response = await this.#ask("open", { init_data: this.initData, job: this.job });
    if (response.status === 403) throw new RefusedError(this.#song ? "expired" : "forbidden");
    if (!response.ok) throw new RefusedError("gone");
    /** @type {Song} */
    const song = await response.json();
    if (this.#song && keysOf(song) !== keysOf(this.#song)) throw new RefusedError("gone"); // a number means another stem
    return (this.#song = song);
  }

  /**
   * Return a segment, or why this stem has none: `not_audio`, `too_big` or `no_room`. After the stem's end it is short and silent.
   * @param {number} stem
   * @param {number} segment
   * @param {AbortSignal} signal
   */
  async segment(stem, segment, signal) {
    const response = await this.#withToken((token) => this.#ask(`segments/${token}/${stem}/${segment}.flac`, undefined, signal));
    if (response.ok) return response.arrayBuffer();
    const { error } = await response.json().catch(() => ({}));
    if (["not_audio", "too_big", "no_room"].includes(error)) return String(error);
    throw new RefusedError("gone");
  }

  /**
   * Return what is measured of the song, which takes some seconds the first time; undefined if it does not come.
   * @returns {Promise<{ facts: Facts | null, peaks: (number[] | null)[] } | undefined>}
   */
  async measures() {
    for (let asked = 0; asked < MOST_ASKED; asked++) {
      const response = await this.#withToken((token) => this.#ask(`measures/${token}`));
      if (response.status === 200) return response.json();
      if (response.status !== 202) return undefined;
      await pause(ASK_EVERY_S);
    }
    return undefined;
  }

  /**
   * Order a mix for the chat; an order that is sent again makes one mix.
   * @param {Recipe} recipe
   */
  async send(recipe) {
    const id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const response = await this.#withToken((token) => this.#ask("mixes", { token, id, recipe }));
    if (!response.ok) throw new RefusedError(response.status === 429 ? "too_many" : response.status === 404 ? "gone" : "refused");
  }

  /** @param {(token: string) => Promise<Response>} ask */
  async #withToken(ask) {
    const { token } = this.#song ?? (await this.open());
    const response = await ask(token);
    if (response.status !== 403) return response;
    if (this.#song?.token === token) this.#renewal ??= this.open().finally(() => (this.#renewal = undefined));
    const renewed = await (this.#renewal ?? this.#song);
    const second = await ask(/** @type {Song} */ (renewed).token);
    if (second.status === 403) throw new RefusedError("expired");
    return second;
  }

  /**
   * @param {string} path
   * @param {object} [body]
   * @param {AbortSignal} [signal]
   */
  async #ask(path, body, signal) {
    const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
    for (let waitS = FIRST_WAIT_S; ; waitS = Math.min(2 * waitS, LONGEST_WAIT_S)) {
      const response = await load(path, { ...options, signal }).catch((error) => {
        if (signal?.aborted) throw error;
        return undefined;
      });
      if (response && !(await isPassing(response))) {
        this.ontrouble("");
        return response;
      }
      this.ontrouble(response ? "busy" : "offline");
      await pause(Number(response?.headers.get("Retry-After")) || waitS, signal);
    }
  }
}

/** @param {Song} song */
function keysOf({ stems }) {
  return stems.map(({ key }) => key).join();
}

/**
 * Fetch a whole answer: a connection may also fail after the answer has begun.
 * @param {string} path
 * @param {RequestInit} options
 */
async function load(path, options) {
  const response = await fetch(path, options);
  return new Response(await response.arrayBuffer(), response);
}

/** @param {Response} response */
async function isPassing(response) {
  if (response.status !== 429) return response.status >= 500;
  const { error } = await response.clone().json().catch(() => ({}));
  return error !== "too_many";
}

/**
 * Wait for some seconds, or for the network.
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 */
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, seconds * 1000);
    addEventListener("online", resolve, { once: true });
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
