// The page: heads of the columns, the composer, and what the buttons at the top do.

import { head, NONE } from "./columns.js";
import * as conversation from "./conversation.js";
import { byId, h } from "./dom.js";
import { openLibrary } from "./library.js";
import * as served from "./served.js";
import { openSettings } from "./settings.js";
import { banner } from "./status.js";
import * as turns from "./turns.js";
import * as writing from "./writing.js";

async function show(other) {
  writing.stopAll();
  conversation.show(other);
  await Promise.all(other.columns.map(({ model }) => served.read(model)));
  document.querySelector(`#mode [value=${other.mode}]`).checked = true;
  drawMode();
  drawHeads();
  turns.draw();
}

function drawMode() {
  const { mode, turns: list } = conversation.shown;
  const prompt = byId("prompt");
  const isChat = mode === "chat";
  prompt.placeholder = isChat
    ? "A message (Enter to send)"
    : "A text to go on with; each one is asked by itself (Ctrl+Enter to generate)";
  byId("send").textContent = isChat ? "Send" : "Generate";
  const example = served.factsOf(served.ids[0])?.proxy?.example_prompt;
  const last = list.at(-1)?.prompt;
  if (!isChat && !prompt.value) prompt.value = last ?? example ?? "";
}

function drawHeads() {
  const { columns } = conversation.shown;
  const heads = columns.map((column, index) =>
    head({
      column,
      index,
      ids: served.ids,
      facts: served.factsOf(column.model),
      pick: (model) => pick(column, index, model),
      steer: () => {
        writing.steer(index);
        conversation.keepSoon();
      },
      positions: () => writing.nWritten(index),
    }),
  );
  byId("columns").replaceChildren(...heads);
  // A column without a model keeps its place, and little of the width.
  const widths = columns.map(({ model }) => (model === NONE ? "8rem" : "minmax(0, 1fr)"));
  document.documentElement.style.setProperty("--columns", widths.join(" "));
  drawShown(columns);
}

async function pick(column, index, model) {
  Object.assign(column, { model, alphas: {} });
  await served.read(model);
  drawHeads();
  turns.draw();
  byId("columns").querySelectorAll("select")[index].focus();
  conversation.keepSoon();
}

/** On a narrow screen one column is seen at a time. */
function drawShown(columns) {
  const at = Math.min(Number(document.body.dataset.shown ?? columns.length - 1), columns.length - 1);
  const see = (index) => {
    document.body.dataset.shown = String(index);
  };
  const radios = columns.map(({ model }, index) => {
    const radio = h("input", {
      type: "radio",
      name: "shown",
      value: index,
      checked: index === at,
      onchange: () => see(index),
    });
    return h("label", {}, radio, ` ${model === NONE ? "none" : served.nameFor(model)}`);
  });
  const fieldset = byId("shown");
  fieldset.replaceChildren(fieldset.querySelector("legend"), ...radios);
  see(at);
}

function drawRunning() {
  const isRunning = writing.isAnyRunning();
  byId("stop").hidden = !isRunning;
  byId("send").hidden = isRunning;
}

function send() {
  const prompt = byId("prompt");
  const text = prompt.value;
  if (writing.isAnyRunning()) return;
  if (!text.trim()) return prompt.focus();
  if (conversation.shown.mode === "chat") prompt.value = "";
  turns.ask(text);
  conversation.address();
}

function listenToComposer() {
  const prompt = byId("prompt");
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  prompt.addEventListener("keydown", (event) => {
    const isChat = conversation.shown.mode === "chat";
    const isSend = event.ctrlKey || event.metaKey || (isChat && !event.shiftKey);
    if (event.key !== "Enter" || !isSend || event.isComposing) return;
    event.preventDefault();
    send();
  });
  byId("stop").addEventListener("click", () => {
    writing.stopAll();
    prompt.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog")) writing.stopAll();
  });
}

function listenToTop() {
  byId("mode").addEventListener("change", async (event) => {
    const mode = event.target.value;
    await conversation.keep();
    // What was asked as a text is no turn of a chat.
    if (conversation.shown.turns.length) await show(conversation.fresh({ ...conversation.shown, mode }));
    else Object.assign(conversation.shown, { mode });
    drawMode();
  });
  byId("new").addEventListener("click", async () => {
    await conversation.keep();
    await show(conversation.fresh(conversation.shown));
    byId("prompt").focus();
  });
  byId("open-settings").addEventListener("click", () => {
    const steered = conversation.shown.columns.find(({ model }) => served.isSteered(model))?.model ?? served.ids[0];
    const { params = {} } = served.factsOf(steered)?.default_generation_settings ?? {};
    const defaults = { ...params, plausibility: 0, guidance_scale: 1, seed: undefined };
    openSettings({ conversation: conversation.shown, defaults, changed: conversation.keepSoon });
  });
  byId("open-library").addEventListener("click", async () => {
    await conversation.keep();
    openLibrary({
      current: conversation.shown.id,
      open: show,
      removed: (id) => id === conversation.shown.id && show(conversation.fresh()),
    });
  });
}

async function start() {
  await served.load();
  // What an empty conversation looks like depends on the first model.
  await served.read(served.ids[0]);
  turns.setUp(show);
  writing.onChange(drawRunning);
  listenToComposer();
  listenToTop();
  addEventListener("pagehide", conversation.keep);
  // What is scrolled to is not hidden behind the heads of the columns.
  const heads = byId("heads");
  new ResizeObserver(() => document.documentElement.style.setProperty("--heads", `${heads.offsetHeight}px`)).observe(
    heads,
  );
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", turns.repaint);
  await show((await conversation.addressed()) ?? conversation.fresh());
  byId("prompt").focus({ preventScroll: true });
  document.body.dataset.ready = "true";
}

start().catch((error) => banner(error.message));
