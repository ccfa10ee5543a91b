/** The mixer: opens the song that the address names, and shows it until the server says that it is over. */

import { controls, sendButton } from "./controls.js";
import { element, iconButton } from "./dom.js";
import { followTransport } from "./frames.js";
import { addKeys } from "./keyboard.js";
import { addToasts, say, toast } from "./notices.js";
import { Player } from "./player.js";
import { RefusedError, Server } from "./server.js";
import { stemRow } from "./stem_row.js";
import { connect, initData } from "./telegram.js";
import { setTexts, text, useFirstTexts } from "./texts.js";
import { timeline } from "./timeline.js";

/** What is loaded sooner than this is not worth a word. */
const PATIENCE_MS = 400;
const main = element("main");
const status = element("p", { className: "status" });
/** @type {Player | undefined} */
let player;
/** @type {import("./server.js").Trouble} */
let trouble = "";

useFirstTexts();
connect();
document.title = text("title");
status.textContent = text("loading");
main.append(status);
document.body.append(main);
addToasts();
const { audioSession } = /** @type {any} */ (navigator);
if (audioSession) audioSession.type = "playback"; // heard although an iPhone is muted
const job = new URLSearchParams(location.search).get("job") ?? "";
const server = new Server(initData(), job, (found) => {
  trouble = found;
  showStatus();
});
await open();

async function open() {
  try {
    show(await server.open());
  } catch (error) {
    end(error);
  }
}

/** @param {import("./server.js").Song} song */
function show(song) {
  setTexts(song.texts, song.language);
  document.title = song.title;
  const opened = (player = new Player(song, (...asked) => server.segment(...asked), end));
  const line = timeline(opened);
  const bar = controls(opened);
  const rows = song.stems.map((_, index) => stemRow(opened, index));
  const showKeys = addKeys(opened, rows);
  const head = element("header", {},
    element("div", { className: "names" }, element("h1", { dir: "auto" }, song.title), about(song)),
    iconButton("keyboard", text("keys"), showKeys, { className: "icon-button keys-button" }));
  const foot = element("footer", {},
    element("button", { type: "button", className: "plain", onclick: () => opened.reset() }, text("reset")),
    song.can_send && sendButton(opened, server, end));
  status.textContent = "";
  main.replaceChildren(head, line.box, bar.box, status, element("div", { className: "stems", role: "group", "aria-label": text("stems") }, ...rows.map(({ row }) => row)), foot);
  bar.play.focus({ preventScroll: true });

  let shown = "";
  function follow() {
    const { position, length } = opened.transport;
    line.follow(position);
    for (const row of rows) row.draw(length ? position / length : 0);
    const now = `${opened.transport.state} ${length}`;
    if (now === shown) return;
    shown = now;
    update();
  }
  function update() {
    bar.show();
    line.show();
    for (const row of rows) row.show();
    showStatus();
  }
  opened.onchange = update;
  opened.onspeedfailed = () => toast(text("speed_failed"));
  opened.onmissing = (name, reason) => toast(text(reason === "no_room" ? "no_room" : "stem_missing", { name }));
  followTransport(opened.transport, follow);
  if (song.stems.some(({ peaks }) => !peaks)) server.measures().then(addMeasures, () => {});

  /** @param {Awaited<ReturnType<Server["measures"]>>} measures */
  function addMeasures(measures) {
    if (!measures) return;
    song.facts = measures.facts;
    for (const [index, stem] of song.stems.entries()) stem.peaks = measures.peaks[index];
    for (const row of rows) row.addPeaks();
    line.addPeaks();
    follow();
  }
  addEventListener("resize", follow);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);
}

/** @param {import("./server.js").Song} song */
function about({ facts }) {
  const known = [facts?.bpm && `${Math.round(facts.bpm)} BPM`, facts?.key].filter(Boolean);
  return known.length > 0 && element("p", { className: "faint" }, known.join(" · "));
}

function showStatus() {
  setTimeout(() => {
    const isWaiting = player?.transport.state === "waiting";
    const said = trouble ? text(trouble) : isWaiting ? text("waiting") : player ? "" : text("loading");
    if (status.textContent === said) return;
    status.textContent = said;
    if (said) say(said);
  }, PATIENCE_MS);
}

/**
 * Say why the mixer is over.
 * @param {unknown} error
 */
function end(error) {
  player?.close();
  player = undefined;
  const reason = error instanceof RefusedError ? error.code : "not_playable";
  main.replaceChildren(element("p", { className: "refusal", role: "alert" }, text(reason)));
  if (!(error instanceof RefusedError)) throw error;
}
