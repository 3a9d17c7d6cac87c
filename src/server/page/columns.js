// The heads of the columns: which model each is, and how far it steers.

import { freshId, h } from "./dom.js";
import { MAX_ALPHA, parse } from "./schedule.js";
import { ScheduleEditor } from "./schedule-editor.js";

export const NONE = "";

/** A model's part of its recipe: `demo:base` is `base` of `demo`. */
export function describe(id) {
  const at = id.lastIndexOf(":");
  const part = id.slice(at + 1);
  return at > 0 && (part === "base" || part === "expert")
    ? { recipe: id.slice(0, at), part }
    : { recipe: id, part: "steered" };
}

/** What a column is called. */
export const nameOf = (id, isSteered) => (isSteered || describe(id).part !== "steered" ? describe(id).part : id);

/** The columns of a new conversation: base, expert and steered of the first recipe, as far as they are there. */
export function usual(ids) {
  const [first] = ids;
  const parts = [`${first}:base`, `${first}:expert`].filter((id) => ids.includes(id));
  return [...parts, first].map((model) => ({ model, alphas: {} }));
}

/**
 * The head of one column. `facts`: the server's for the model of the column (`/props`), once they are there. `pick(id)` is called
 * with another model, `steer()` when α has changed, `positions()` tells how long the running answer is.
 */
export function head({ column, index, ids, facts, pick, steer, positions }) {
  const id = freshId("model");
  const options = ids.map((model) => {
    const { recipe, part } = describe(model);
    const isSingle = !ids.some((other) => other !== model && describe(other).recipe === recipe);
    return h("option", { value: model, selected: model === column.model }, isSingle ? model : `${recipe} · ${part}`);
  });
  if (column.model !== NONE && !ids.includes(column.model)) {
    options.push(h("option", { value: column.model, selected: true, disabled: true }, `${column.model} (not served)`));
  }
  const select = h(
    "select",
    { id, onchange: () => pick(select.value) },
    ...options,
    h("option", { value: NONE, selected: column.model === NONE }, "(no model)"),
  );
  const pairs = facts?.proxy?.is_steered ? Object.entries(facts.proxy.pairs) : [];
  const controls = pairs.map(([name, planned]) =>
    alphaControl({ column, name, planned: String(planned), isOnly: pairs.length === 1, steer, positions }),
  );
  return h(
    "div",
    { class: "head", "data-column": index },
    h("label", { for: id, class: "unseen" }, `Model of column ${index + 1}`),
    select,
    ...controls,
    facts?.proxy?.is_steered && facts.proxy.weights
      ? h(
          "p",
          { class: "fine" },
          `The recipe has ${facts.proxy.weights}. A moved α takes the place of both sides’ weights.`,
        )
      : null,
  );
}

function alphaControl({ column, name, planned, isOnly, steer, positions }) {
  const label = isOnly ? "α" : `α ${name}`;
  const get = () => column.alphas[name] ?? planned;
  const fault = h("p", { class: "error", role: "status" });
  const set = (text) => {
    try {
      parse(text);
    } catch (error) {
      fault.textContent = text === "" ? "" : error.message;
      number.setAttribute("aria-invalid", "true");
      return;
    }
    column.alphas[name] = text === planned ? null : text;
    show();
    steer();
  };
  const field = (properties) => h("input", { ...properties, oninput: (event) => set(event.target.value) });
  const slider = field({ type: "range", step: 0.01, "aria-label": label });
  const number = field({
    type: "number",
    step: "any",
    min: -MAX_ALPHA,
    max: MAX_ALPHA,
    "aria-label": `${label} as a number`,
  });
  // What cannot be is not kept: the field goes back to what holds.
  number.addEventListener("change", () => show());
  const editor = new ScheduleEditor({ name: label, get, set, positions });
  const along = h("div", { hidden: true }, editor.element);
  const toggle = () => {
    along.hidden = !along.hidden;
    opener.setAttribute("aria-expanded", String(!along.hidden));
    editor.draw();
  };
  const opener = h("button", { type: "button", "aria-expanded": "false", onclick: toggle }, "Schedule");
  const schedule = h("code", { class: "now" });
  const reset = h(
    "button",
    {
      type: "button",
      title: `The recipe’s α: ${planned}`,
      "aria-label": `Back to the recipe’s ${label}, ${planned}`,
      onclick: () => set(planned),
    },
    "↺",
  );
  const show = () => {
    const knots = parse(get());
    const isConstant = knots.length === 1;
    const { alpha } = knots[0];
    Object.assign(slider, { min: Math.min(0, alpha), max: Math.max(2, alpha), value: alpha });
    const isTyped = document.activeElement === number && Number(number.value) === alpha;
    if (!isTyped) number.value = alpha;
    number.removeAttribute("aria-invalid");
    fault.textContent = "";
    slider.hidden = number.hidden = !isConstant;
    schedule.hidden = isConstant;
    schedule.textContent = schedule.title = get();
    reset.disabled = (column.alphas[name] ?? null) === null;
    editor.draw();
  };
  show();
  const sign = h("span", { "aria-hidden": "true" }, label);
  return h("div", { class: "alpha" }, sign, slider, number, schedule, opener, reset, fault, along);
}
