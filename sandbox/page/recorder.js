/** Recording the microphone as a file. */

const TYPES = ["audio/ogg;codecs=opus", "audio/webm;codecs=opus", "audio/mp4"];

export class Recorder {
  /** @type {MediaRecorder | undefined} */ #recorder;
  /** @type {number | undefined} */ #timer;
  /** Whether the microphone is being opened, which can wait for a permission, or released. */
  #isBusy = false;

  get isRecording() {
    return this.#recorder?.state === "recording";
  }

  /**
   * Begin to record, unless that has begun; rejected where there is no microphone or no permission.
   * @param {(seconds: number) => void} onTime  called several times a second
   */
  async start(onTime) {
    if (this.#isBusy || this.isRecording) return;
    this.#isBusy = true;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
      this.#recorder = new MediaRecorder(stream, { mimeType });
      this.#recorder.start();
    } finally {
      this.#isBusy = false;
    }
    const began = performance.now();
    onTime(0);
    this.#timer = setInterval(() => onTime((performance.now() - began) / 1000), 250);
  }

  /**
   * Stop and release the microphone.
   * @returns {Promise<File | undefined>}
   */
  async stop() {
    const recorder = this.#recorder;
    if (!recorder || recorder.state !== "recording") return undefined;
    this.#isBusy = true;
    clearInterval(this.#timer);
    /** @type {Blob[]} */
    const parts = [];
    const ended = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.stop();
    await ended;
    for (const track of recorder.stream.getTracks()) track.stop();
    this.#isBusy = false;
    const type = recorder.mimeType.split(";")[0];
    return new File(parts, `voice.${type.split("/")[1]}`, { type });
  }
}
