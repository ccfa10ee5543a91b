/** The page's keys, and the dialog that lists them. */

import { element, iconButton } from "./dom.js";
import { text } from "./texts.js";

const SEEK_S = 5;

/**
 * Follow the keys. Call once.
 * @param {import("./player.js").Player} player
 * @param {import("./stem_row.js").StemRow[]} rows
 * @returns {() => void}  shows the list of keys
 */
export function addKeys(player, rows) {
  const dialog = keysDialog();
  document.body.append(dialog);
  /** @type {Record<string, () => void>} */
  const actions = {
    arrowleft: () => player.skip(-SEEK_S),
    arrowright: () => player.skip(SEEK_S),
    l: () => player.stepLoop(),
    "?": () => dialog.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const isOver = !rows.some(({ row }) => row.isConnected);
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || isOver) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === " " ? target.matches("button") : event.key.startsWith("Arrow") && isFader(target)) return; // the browser's own
    const stem = rows.findIndex(({ row }) => row.contains(target));
    const track = player.mix.tracks[stem];
    const key = (/^[^\x00-\x7f]$/.test(event.key) ? event.code.replace("Key", "") : event.key).toLowerCase(); // ь is on the key of M
    if (event.key === " ") player.togglePlay();
    else if (/^[1-9]$/.test(key)) rows[Number(key) - 1]?.mute.focus();
    else if (key === "m" && track) player.set(stem, { isMuted: !track.isMuted });
    else if (key === "s" && track) player.set(stem, { isSolo: !track.isSolo });
    else if (Object.hasOwn(actions, key)) actions[key]();
    else return;
    event.preventDefault();
  });
  return () => dialog.showModal();
}

/** @param {HTMLElement} target */
function isFader(target) {
  return target.matches("input[type=range]") && !target.closest(".timeline");
}

function keysDialog() {
  const keys = [[text("space"), "key_play"], ["← →", "key_seek"], ["1 – 9", "key_stem"], ["M", "key_mute"], ["S", "key_solo"], ["L", "key_loop"], ["?", "key_help"]];
  const dialog = element("dialog", { className: "keys", "aria-labelledby": "keys-title" },
    element("div", { className: "dialog-head" }, element("h2", { id: "keys-title" }, text("keys")), iconButton("close", text("close"), () => dialog.close())),
    element("dl", {}, ...keys.flatMap(([key, name]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, text(name))])));
  return dialog;
}
