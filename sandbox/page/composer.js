/** The line at the bottom: a text, files, a recording, the menu of commands, and the message that is replied to or edited. */

import { authorOf, summary } from "./bubble.js";
import { addCommands } from "./commands.js";
import { element, icon, iconButton, relabel } from "/mixer/static/dom.js";
import { menuItem, openMenu } from "./menu.js";
import { toast } from "./notices.js";
import { Recorder } from "./recorder.js";
import { call } from "./api.js";
import { SONGS, sendFiles, sendOurs } from "./sending.js";
import { attempt, on, state, whenShown } from "./store.js";
import { clock, text } from "./texts.js";

/** @typedef {import("./store.js").Message} Message */

/** @type {{ message: Message, isEdit: boolean } | null} */
let target = null;
const recorder = new Recorder();
const chooser = element("input", { type: "file", multiple: true, hidden: true, tabIndex: -1 });
const field = element("textarea", { rows: 1, autocomplete: "off", enterKeyHint: "send" });
const reply = element("div", { className: "reply", hidden: true });
const progress = element("div", { className: "progress", role: "status" });
const main = iconButton("mic", " ", () => void (field.value.trim() ? submit() : record()), { className: "icon-button main" });
const attach = iconButton("attach", " ", () => openMenu(attach, attachments()), { "aria-haspopup": "menu" });
const discard = iconButton("close", " ", () => void recorder.stop().then(showState), { hidden: true });

export function addComposer() {
  const { button, list } = addCommands(field, submit); // first, since it takes keys of the open list
  chooser.addEventListener("change", () => {
    send([...(chooser.files ?? [])]);
    chooser.value = "";
  });
  field.addEventListener("input", showState);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.defaultPrevented) return;
    event.preventDefault();
    void submit();
  });
  field.addEventListener("keydown", (event) => event.key === "Escape" && !event.defaultPrevented && dropTarget());
  field.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    send(files);
  });
  on("sending", (name) => (progress.textContent = name && text("sending", { name })));
  on("reply", (message) => aim(message, false));
  on("edit", (message) => {
    aim(message, true);
    write(message.text ?? message.caption ?? "");
  });
  on("selected", () => {
    dropTarget();
    label();
  });
  return element("footer", { className: "composer" }, list, progress, reply,
    element("div", { className: "line" }, button, attach, field, discard, main, chooser));
}

function label() {
  field.placeholder = text("message");
  field.setAttribute("aria-label", text("message"));
  relabel(attach, "attach", text("attach"));
  relabel(discard, "close", text("cancelRecording"));
  showState();
}

function showState() {
  const hasText = Boolean(field.value.trim());
  if (recorder.isRecording) relabel(main, "send", text("stopRecording"));
  else relabel(main, hasText ? "send" : "mic", text(hasText ? "send" : "record"));
  discard.hidden = !recorder.isRecording;
  field.readOnly = recorder.isRecording;
  if (!recorder.isRecording) progress.textContent = "";
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, 160)}px`;
}

/** Send files; what is written already is their caption. @param {File[]} files */
function send(files) {
  void sendFiles(files, { caption: takeText(), ...takeReply() });
}

function takeText() {
  const content = field.value.trim();
  write("");
  return content;
}

/** @param {string} content */
function write(content) {
  field.value = content;
  field.dispatchEvent(new Event("input")); // closes the list of commands, too
}

async function submit() {
  const content = takeText();
  if (!content) return;
  await whenShown;
  const edited = target?.isEdit ? target.message : null;
  const place = { user_id: state.me, thread_id: state.threadId || null, reply_to: takeReply().replyTo ?? null };
  const sent = await attempt(() => edited
    ? call("PATCH", `${state.chatId}/messages/${edited.message_id}`, { text: content })
    : call("POST", `${state.chatId}/messages`, { text: content, ...place }));
  if (!sent && !field.value) write(content); // to be corrected
}

async function record() {
  if (recorder.isRecording) {
    const voice = await recorder.stop();
    showState();
    if (voice) await sendFiles([voice], { kind: "voice", ...takeReply() });
    return;
  }
  try {
    await recorder.start((seconds) => (progress.textContent = text("recording", { time: clock(seconds) })));
  } catch {
    toast(text("noMicrophone")); // none there, or no permission
  }
  showState();
}

function attachments() {
  /** @param {string} accept */
  const choose = (accept) => () => {
    chooser.accept = accept;
    chooser.click();
  };
  return [
    ...SONGS.map(({ file, title }) => menuItem(text("ourSong", { title }), () => sendOurs(file))),
    menuItem(text("choose"), choose("audio/*,.flac,.m4a,.ogg,.opus,.mp3,.wav")),
    menuItem(text("chooseFile"), choose("")),
  ];
}

/**
 * Reply to a message, or edit it.
 * @param {Message} message
 * @param {boolean} isEdit
 */
function aim(message, isEdit) {
  if (target?.isEdit) dropTarget();
  target = { message, isEdit };
  const title = isEdit ? text("edit") : text("replyTo", { name: authorOf(message) });
  reply.replaceChildren(
    element("div", {}, element("b", {}, title), element("span", {}, summary(message))),
    iconButton("close", text(isEdit ? "cancelEdit" : "cancelReply"), dropTarget),
  );
  reply.hidden = false;
  field.focus();
}

function dropTarget() {
  if (target?.isEdit) write("");
  target = null;
  reply.hidden = true;
}

function takeReply() {
  const replyTo = target && !target.isEdit ? target.message.message_id : undefined;
  target = null;
  reply.hidden = true;
  return { replyTo };
}

/** Take files that are dropped anywhere on the page. */
export function addDrop() {
  const cover = element("div", { className: "drop", hidden: true }, icon("note"), element("b"), element("span"));
  const [, title, hint] = cover.children;
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    title.textContent = text("drop");
    hint.textContent = text("dropAlbum");
    cover.hidden = false;
  });
  addEventListener("dragleave", (event) => !event.relatedTarget && (cover.hidden = true));
  addEventListener("drop", (event) => {
    event.preventDefault();
    cover.hidden = true;
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) send(files);
  });
  return cover;
}
