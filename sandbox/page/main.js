/** The page: a chat with the bot of this sandbox, as it looks on a phone. */

import { key, RefusedError } from "./api.js";
import { addBench } from "./bench.js";
import { showAnswers } from "./bubble.js";
import { addChat } from "./chat.js";
import { addComposer, addDrop } from "./composer.js";
import { element } from "/mixer/static/dom.js";
import { addHeader } from "./header.js";
import { addMenu } from "./menu.js";
import { addMixer } from "./mixer.js";
import { addNotices } from "./notices.js";
import { addPeople } from "./people.js";
import { begin, me, on } from "./store.js";
import { setLanguage, text } from "./texts.js";
import { addWebApps } from "./web_app.js";

addEventListener("hashchange", () => location.reload()); // another key

setLanguage(navigator.language.toLowerCase());
on("selected", () => setLanguage(me().language_code));
const main = element("main", {}, addHeader(addPeople(), addBench()), addChat(), addComposer());
document.body.append(main, addDrop());
addNotices();
addMenu();
addMixer();
addWebApps();
showAnswers();
if (key) await start();
else refuse(text("noKey"));

async function start() {
  try {
    await begin();
    document.body.classList.add("ready");
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    if (error.status === 403) return refuse(text("wrongKey"));
    refuse(text("lost"));
    setTimeout(() => location.reload(), 2000);
  }
}

/** @param {string} reason */
function refuse(reason) {
  document.body.replaceChildren(element("p", { className: "refusal", role: "alert" }, reason));
}
