/** The bot's menu of commands: a button, and a list that follows what is typed after a slash. */

import { call } from "./api.js";
import { element, iconButton, relabel } from "/mixer/static/dom.js";
import { attempt, on, state } from "./store.js";
import { text } from "./texts.js";

/**
 * Create the button and the list for a text field; `submit` sends the field's text.
 * @param {HTMLTextAreaElement} field
 * @param {() => void} submit
 */
export function addCommands(field, submit) {
  /** @type {{ command: string, description: string }[]} */
  let commands = [];
  let chosen = -1;
  const list = element("ul", { className: "commands", role: "listbox", id: "commands", hidden: true });
  const button = iconButton("menu", " ", toggle, { "aria-expanded": "false", "aria-controls": "commands" });
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-controls", "commands");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-expanded", "false");
  field.addEventListener("input", () => show(matching()));
  field.addEventListener("keydown", onKey);
  field.addEventListener("blur", () => setTimeout(() => !list.contains(document.activeElement) && hide(), 150));
  on("selected", () => {
    relabel(button, "menu", text("commands"));
    list.setAttribute("aria-label", text("commands"));
    hide();
    void read();
  });

  async function read() {
    const bot = await attempt(() => call("GET", `${state.chatId}/bot?user_id=${state.me}`));
    commands = bot?.commands ?? [];
    if (list.hidden) show(matching()); // a slash was typed meanwhile
  }

  function matching() {
    const typed = /^\/(\w*)$/.exec(field.value);
    return typed ? commands.filter(({ command }) => command.startsWith(typed[1].toLowerCase())) : [];
  }

  async function toggle() {
    if (!list.hidden) return hide();
    await read(); // an admin's commands come later
    field.focus();
    show(commands);
  }

  /** @param {typeof commands} offered */
  function show(offered) {
    chosen = -1;
    list.replaceChildren(...offered.map(({ command, description }, index) =>
      element("li", { role: "option", id: `command-${index}`, "aria-selected": "false", onmousedown: (/** @type {Event} */ event) => event.preventDefault(), onclick: () => take(command) },
        element("b", {}, `/${command}`), element("span", { className: "faint" }, description))));
    setOpen(offered.length > 0);
  }

  function hide() {
    setOpen(false);
  }

  /** @param {boolean} isOpen */
  function setOpen(isOpen) {
    list.hidden = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
    field.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) field.removeAttribute("aria-activedescendant");
  }

  /** @param {string} command */
  function take(command) {
    field.value = `/${command}`;
    hide();
    submit();
  }

  /** @param {number} index */
  function choose(index) {
    const options = [...list.children];
    chosen = (index + options.length) % options.length;
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === chosen)));
    options[chosen].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", options[chosen].id);
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (list.hidden) return;
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen < 0 ? -1 : chosen - 1);
    else if (event.key === "Escape") hide();
    else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) take(list.children[chosen].querySelector("b")?.textContent?.slice(1) ?? "");
    else return;
    event.preventDefault();
  }

  return { button, list };
}
