/** A chat without messages: what the bot can do, and how to begin. */

import { call } from "./api.js";
import { element, icon } from "/mixer/static/dom.js";
import { say } from "./richtext.js";
import { SONGS, sendOurs } from "./sending.js";
import { attempt, state } from "./store.js";
import { text } from "./texts.js";

export function emptyChat() {
  const about = element("p", { className: "about" });
  void attempt(() => call("GET", `${state.chatId}/bot?user_id=${state.me}`)).then((bot) => (about.textContent = bot?.description ?? ""));
  return element("li", { className: "empty" },
    element("div", { className: "card" },
      element("h2", {}, text("what")),
      about,
      element("p", { className: "faint" }, text("hint")),
      element("div", { className: "choices" },
        ...SONGS.map(({ file, title }, index) =>
          element("button", { type: "button", className: index ? "" : "primary", onclick: () => sendOurs(file) }, icon("note"), text("ourSong", { title }))),
        state.chatId > 0 && element("button", { type: "button", onclick: () => say("/start") }, text("start")),
      ),
    ),
  );
}
