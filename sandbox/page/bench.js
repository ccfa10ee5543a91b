/** The bench: what passes between stemdrop, Telegram and the separation API, the states of jobs, and faults. */

import { RefusedError } from "./api.js";
import { element, iconButton } from "/mixer/static/dom.js";
import { faultsSection, showFaults } from "./faults.js";
import { focusFilter, linkMessages, read, recordsSection, show } from "./records.js";
import { on } from "./store.js";
import { text } from "./texts.js";

const POLL_S = 25;
const RETRY_MS = 2000;
const panel = element("aside", { className: "bench", hidden: true, "aria-labelledby": "bench-title" });
const button = iconButton("bench", " ", () => (panel.hidden ? void openAndFocus() : close()), { "aria-expanded": "false" });
/** The same width as in style.css. */
const coversChat = matchMedia("(max-width: 999px)");
let isFollowing = false;

export function addBench() {
  document.body.append(panel);
  panel.addEventListener("keydown", (event) => event.key === "Escape" && close());
  on("selected", () => {
    button.title = text("bench");
    button.setAttribute("aria-label", text("bench"));
    if (!panel.hidden) void build();
  });
  on("go", () => !panel.hidden && coversChat.matches && close());
  linkMessages(open);
  return button;
}

/** Open the bench; if it is open, show what is new. */
async function open() {
  if (!panel.hidden) return show();
  panel.hidden = false;
  document.body.classList.add("with-bench");
  button.setAttribute("aria-expanded", "true");
  await build();
  void follow();
}

async function openAndFocus() {
  await open();
  focusFilter();
}

function close() {
  panel.hidden = true;
  document.body.classList.remove("with-bench");
  button.setAttribute("aria-expanded", "false");
  button.focus();
}

async function build() {
  const faults = await faultsSection();
  panel.replaceChildren(
    element("div", { className: "mixer-head" }, element("h2", { id: "bench-title" }, text("bench")), iconButton("close", text("close"), close)),
    ...faults, ...recordsSection(),
  );
}

/** Wait for what is new as long as the bench is open. */
async function follow() {
  if (isFollowing) return;
  isFollowing = true;
  try {
    while (!panel.hidden) await readNext();
  } finally {
    isFollowing = false;
  }
}

async function readNext() {
  try {
    await read(POLL_S);
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS)); // the header says meanwhile that nothing answers
    return;
  }
  show();
  await showFaults();
}
