// The dialog for everything that a request can set. What is left empty is as the server has it.

import { SETTINGS } from "./conversation.js";
import { dialog } from "./dialogs.js";
import { freshId, h } from "./dom.js";
import { GROUPS, read, shown } from "./parameters.js";

/** `defaults`: the server's, by name. `changed` is called whenever a value is. */
export function openSettings({ conversation, defaults, changed }) {
  const system = area(
    "System prompt",
    conversation.system,
    (text) => {
      conversation.system = text;
      changed();
    },
    "for chats; empty for the recipe’s",
  );
  const groups = GROUPS.map(([heading, fields]) =>
    h(
      "fieldset",
      {},
      h("legend", {}, heading),
      ...fields.map((field) => parameter(field, conversation.settings, defaults, changed)),
    ),
  );
  const reset = h(
    "button",
    {
      type: "button",
      onclick: () => {
        conversation.settings = { ...SETTINGS };
        conversation.system = "";
        changed();
        element.close();
        openSettings({ conversation, defaults, changed });
      },
    },
    "Reset all",
  );
  const element = dialog("Settings", h("div", { class: "settings" }, system, ...groups), reset);
}

function parameter([name, step, about, [least, most] = []], settings, defaults, changed) {
  const id = freshId(name);
  const [help, fault] = [`${id}-help`, `${id}-fault`];
  const place = shown(name, defaults[name]);
  const properties = {
    id,
    name,
    placeholder: place,
    value: shown(name, settings[name]),
    spellcheck: false,
    "aria-describedby": `${help} ${fault}`,
  };
  const isLong = ["stop", "json_schema", "grammar", "negative_prompt"].includes(name);
  const field = isLong
    ? h("textarea", { ...properties, rows: 2 })
    : h("input", { ...properties, type: step === null ? "text" : "number", step: "any" });
  const said = h("span", { id: fault, class: "error" });
  const take = () => {
    said.textContent = "";
    try {
      const isBad = field.validity?.badInput;
      if (isBad) throw new Error("expected a number");
      if (field.value.trim() === "") delete settings[name];
      else settings[name] = within(read(name, field.value), least, most);
    } catch (error) {
      said.textContent = error.message;
    }
    field.setAttribute("aria-invalid", String(said.textContent !== ""));
    changed();
  };
  field.addEventListener("input", take);
  const nudge =
    step === null
      ? null
      : (event) => {
          const by = { ArrowUp: step, ArrowDown: -step }[event.key];
          if (!by) return;
          event.preventDefault();
          const from = field.value === "" ? Number(place || 0) : Number(field.value);
          field.value = String(Math.round((from + by) * 1e6) / 1e6);
          take();
        };
  if (nudge) field.addEventListener("keydown", nudge);
  return h("div", { class: "parameter" }, h("label", { for: id }, name), field, h("small", { id: help }, about), said);
}

/** Refuses a number out of bounds; the server would too. */
function within(value, least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY) {
  if (typeof value !== "number" || (least <= value && value <= most)) return value;
  throw new Error(most === Number.POSITIVE_INFINITY ? `expected ${least} or more` : `expected ${least} to ${most}`);
}

function area(label, value, set, about) {
  const id = freshId("area");
  const field = h("textarea", {
    id,
    rows: 2,
    value: value ?? "",
    oninput: () => set(field.value),
    "aria-describedby": `${id}-help`,
  });
  return h(
    "div",
    { class: "parameter wide" },
    h("label", { for: id }, label),
    field,
    h("small", { id: `${id}-help` }, about),
  );
}
