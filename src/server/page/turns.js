// The prompts with their answers: what is drawn of them, and what can be done with them.

import * as answers from "./answer.js";
import { AnswerView } from "./answer-view.js";
import { base, key } from "./api.js";
import * as candidates from "./candidates.js";
import { NONE } from "./columns.js";
import { fork, keep, keepSoon, shown } from "./conversation.js";
import { copy, showCode } from "./dialogs.js";
import { byId, h } from "./dom.js";
import { current, request } from "./request.js";
import { sent } from "./schedule.js";
import { isSteered, nameFor, pairsOf, schedules, weightsOf } from "./served.js";
import { curl, python } from "./snippets.js";
import { notice, say } from "./status.js";
import { summarise } from "./summary.js";
import { Decoder, visible } from "./text.js";
import { stop, write } from "./writing.js";

/** Views of the answers, by turn and column. */
let cells = [];
/** Shows another conversation. */
let showOther = () => {};

/** `show` is called with a conversation that a turn was copied into. */
export const setUp = (show) => {
  showOther = show;
};

export function draw() {
  candidates.close();
  cells = shown.turns.map(() => []);
  byId("turns").replaceChildren(...shown.turns.map((turn, at) => drawTurn(turn, at)));
}

/** Where colours have changed. */
export function repaint() {
  for (const view of cells.flat()) view?.strip.draw();
}

function drawTurn(turn, at) {
  const prompt = h("p", { class: "prompt", dir: "auto" }, visible(turn.prompt));
  const block = h(
    "div",
    { class: "asked" },
    prompt,
    h("button", { type: "button", onclick: () => edit(at, block) }, "Edit"),
  );
  const row = h("div", { class: "row" }, ...shown.columns.map((_, column) => drawCell(at, column)));
  return h("section", { class: "turn", "aria-label": `Prompt ${at + 1}` }, block, row);
}

function drawCell(at, column) {
  const list = shown.turns[at].answers[column];
  const answer = list?.variants[list.at];
  const { model } = shown.columns[column];
  const cell = h("div", { class: `cell${model === NONE ? " none" : ""}`, "data-column": column });
  if (!answer) return cell;
  const view = new AnswerView(answer, {
    name: nameFor(answer.model),
    isSteered: isSteered(answer.model) || answer.changes.length > 0,
    pairs: pairsOf(answer.model),
    place: { at: list.at, n: list.variants.length },
    actions: actions(at, column, list, answer),
  });
  cells[at][column] = view;
  if (model !== answer.model) cell.append(h("p", { class: "other" }, answer.model));
  cell.append(view.element);
  return cell;
}

function redraw(at, column) {
  byId("turns").children[at].querySelector(".row").children[column].replaceWith(drawCell(at, column));
}

function actions(at, column, list, answer) {
  const { seed } = answer.body;
  // What stands behind an earlier answer was written for that answer: it stays with it.
  const onLast =
    (f) =>
    async (...values) => {
      if (at < shown.turns.length - 1) {
        await branch(at + 1);
        say("Copied into a conversation of its own, up to here.");
      }
      f(...values);
    };
  return {
    stop: () => stop(answer),
    again: onLast(() => begin(at, column)),
    more: onLast(() => begin(at, column, { begun: answer.tokens, text: answer.text, seed })),
    pick: onLast((position, candidate) => {
      stop(answer);
      begin(at, column, { begun: answers.turned(answer, position, candidate), seed });
      cells[at][column].focus(position);
    }),
    copy: (kind, view) => copyAs(kind, answer, view),
    variant: (step) => {
      list.at += step;
      redraw(at, column);
      keepSoon();
    },
  };
}

async function branch(at) {
  await keep();
  await showOther(fork(at));
}

function edit(at, block) {
  const field = h("textarea", { value: shown.turns[at].prompt, rows: 3, dir: "auto", "aria-label": "Prompt" });
  const before = [...block.children];
  const back = () => {
    block.replaceChildren(...before);
    before.at(-1).focus();
  };
  const done = async () => {
    const prompt = field.value;
    if (!prompt.trim()) return;
    await branch(at);
    ask(prompt);
    notice("The earlier conversation is kept: Conversations has it.");
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") back();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) done();
  });
  block.replaceChildren(
    field,
    h("button", { type: "button", class: "primary", onclick: done }, "Answer anew"),
    h("button", { type: "button", onclick: back }, "Cancel"),
  );
  field.focus();
}

function copyAs(kind, answer, view) {
  if (kind === "text") return copy(answer.text, "The answer");
  const asked = { path: answer.path, body: structuredClone(answer.body) };
  // What was moved while it was written stands in the schedule, which has no words for a recipe's own weights.
  if (answer.changes.length > 1 && !answer.weights) {
    asked.body.proxy.pairs = Object.fromEntries(view.pairs.map((pair, i) => [pair, sent(view.alphas[i])]));
  }
  const code = { curl, python }[kind];
  showCode(kind === "curl" ? "As curl" : "As openai-python", code(base, asked, Boolean(key.get())));
}

const freshSeed = () => shown.settings.seed ?? Math.floor(Math.random() * 0xffffffff);

/** One more prompt, for every column. */
export function ask(prompt) {
  const { turns, columns } = shown;
  shown.title ||= prompt.trim().slice(0, 80);
  const turn = { prompt, answers: columns.map(() => null) };
  const at = turns.push(turn) - 1;
  cells.push([]);
  byId("turns").append(drawTurn(turn, at));
  const seed = freshSeed();
  const begun = columns.flatMap(({ model }, column) => (model === NONE ? [] : [begin(at, column, { seed })]));
  say("Writing.");
  Promise.all(begun).then(() => tell(turn));
  // Behind others it goes to the top, where its answers are seen as they are written.
  if (at > 0) byId("turns").lastElementChild.scrollIntoView({ block: "start" });
}

/** One more answer of a column to a turn. `begun`: tokens that it begins with; `text`: what they spell, where that is known. */
function begin(at, column, { begun = [], text, seed = freshSeed() } = {}) {
  const turn = shown.turns[at];
  const { model, alphas } = shown.columns[column];
  const first = schedules(model, alphas).map(([, alpha]) => alpha);
  const decoder = new Decoder();
  const answer = answers.empty({
    model,
    ...request(shown, at, column, seed, begun),
    begun,
    text: text ?? begun.map((token) => decoder.next(token)).join(""),
    changes: first.length ? [{ position: 0, alphas: first }] : [],
    weights: weightsOf(model, alphas),
  });
  turn.answers[column] ??= { variants: [], at: 0 };
  const list = turn.answers[column];
  list.at = list.variants.push(answer) - 1;
  redraw(at, column);
  const view = cells[at][column];
  return write(answer, column, (isOver) => (isOver ? view.draw() : view.update()));
}

/** What has come of a turn, for those who do not see it. */
function tell(turn) {
  const lines = turn.answers.map((_, column) => {
    const answer = current(turn, column);
    if (!answer) return "";
    if (answer.error) return `${nameFor(answer.model)}: ${answer.error.message}`;
    const { n, nChanged } = summarise(answer.tokens);
    const change = isSteered(answer.model) ? `, steering changed the top token at ${nChanged}` : "";
    return `${nameFor(answer.model)}: ${n} tokens${change}.`;
  });
  say(lines.filter(Boolean).join(" "));
}
