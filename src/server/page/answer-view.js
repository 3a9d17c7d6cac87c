// An answer on the page: the strip, the text, what steering did to it, and what can be done with it.

import { canContinue, isFull, isRunning } from "./answer.js";
import { AnswerSummary } from "./answer-summary.js";
import { AnswerText } from "./answer-text.js";
import * as candidates from "./candidates.js";
import { atMostEvery, h } from "./dom.js";
import { along, at, parse } from "./schedule.js";
import { Strip } from "./strip.js";

/** A text that grows is laid out anew each time: ten times a second is often enough, and leaves the machine to the models. */
const DRAW_MS = 100;

export class AnswerView {
  /** `actions`: what can be done with it: stop, again, more, pick(position, candidate), copy(kind), variant(step). */
  constructor(answer, { name, isSteered, pairs, place, actions }) {
    Object.assign(this, { answer, isSteered, pairs, actions, summarisedAt: 0 });
    const look = (position) => this.#look(position);
    const choose = (position) => this.choose(position);
    const leave = () => {
      candidates.leave();
      if (!candidates.isPinned()) this.text.dark();
    };
    this.text = new AnswerText({ isSteered, look, leave, choose });
    this.summary = isSteered ? new AnswerSummary(choose) : null;
    this.strip = new Strip({
      label: `Tokens of ${name}’s answer: arrows to move, Page keys for the next one that steering changed, Enter to open`,
      look,
      choose,
      leave,
      describe: (position) => candidates.lead(answer.tokens[position], position),
      next: (from, step) => this.#nextChanged(from, step),
    });
    this.notes = h("div", { class: "notes" });
    this.meta = h("span", { class: "meta" });
    this.buttons = h("span", { class: "actions" });
    this.element = h(
      "article",
      { class: `answer${isSteered ? " steered" : ""}`, "aria-label": `${name}’s answer` },
      this.strip.element,
      this.text.element,
      this.summary?.element,
      this.notes,
      h("footer", {}, this.meta, this.#variants(place), this.buttons),
    );
    this.update = atMostEvery(DRAW_MS, () => this.draw());
    this.draw();
  }

  #variants({ at: which, n }) {
    if (n < 2) return null;
    const turn = (step, label, sign) => {
      const disabled = which + step < 0 || which + step >= n;
      const onclick = () => this.actions.variant(step);
      return h("button", { type: "button", "aria-label": label, disabled, onclick }, sign);
    };
    const [earlier, later] = [turn(-1, "Earlier answer", "‹"), turn(1, "Later answer", "›")];
    return h("span", { class: "variants" }, earlier, ` ${which + 1} of ${n} `, later);
  }

  draw() {
    const { answer } = this;
    const isDone = !isRunning(answer);
    this.text.append(answer.tokens);
    if (isDone) this.text.cut(answer);
    if (this.state !== answer.state) this.#actions();
    this.element.dataset.state = answer.state;
    this.strip.element.hidden = answer.tokens.length === 0;
    // The figures need every token: while it is written, a few times a second will do.
    if (isDone || performance.now() - this.summarisedAt > 300) {
      this.summarisedAt = performance.now();
      this.summary?.show(answer.tokens);
      this.strip.show(answer.tokens, this.isSteered ? this.#alpha() : null);
    }
    this.#tell();
  }

  /** α of the first pair along the answer. */
  #alpha() {
    const { changes } = this.answer;
    if (!changes.length) return null;
    const knots = parse(along(changes.map(({ position, alphas }) => ({ position, alpha: alphas[0] }))));
    return (position) => at(knots, position);
  }

  /** The schedule of every pair that led to this answer. */
  get alphas() {
    const { changes } = this.answer;
    const of = (i) => changes.map(({ position, alphas }) => ({ position, alpha: alphas[i] ?? "0" }));
    return this.pairs.map((_, i) => along(of(i)));
  }

  /** How far it was steered. */
  #steering() {
    const { weights, changes } = this.answer;
    if (!this.isSteered || !changes.length) return "";
    if (!weights) return `α ${this.alphas.join(" · ")}`;
    const from = ({ position, alphas }) => `, α ${alphas.join(" · ")} from token ${position + 1}`;
    return weights + changes.slice(1).map(from).join("");
  }

  /** How it fares, and what was wrong. */
  #tell() {
    const { answer } = this;
    const { timings, tokens, error, state, finish, notes } = answer;
    const speed = timings?.predicted_per_second ? `, ${timings.predicted_per_second.toFixed(1)} tokens/s` : "";
    const ended = isFull(answer) ? "context full" : ({ length: "max_tokens reached", stop: "ended" }[finish] ?? finish);
    const words = { waiting: "waiting for the first token…", writing: "writing…", done: ended }[state] ?? state;
    const parts = [tokens.length ? `${tokens.length} tokens${speed}` : "", words, this.#steering()];
    this.meta.textContent = parts.filter(Boolean).join(" · ");
    const key = JSON.stringify([notes, error]);
    if (key === this.notesKey) return;
    this.notesKey = key;
    const fault = error ? [h("p", { class: "error" }, error.message)] : [];
    this.notes.replaceChildren(...fault, ...notes.map((note) => h("p", { class: "note" }, note)));
  }

  #actions() {
    const { answer, actions } = this;
    const button = (label, onclick, title) => h("button", { type: "button", onclick, title }, label);
    const ended = () => [
      button("Regenerate", actions.again, "Answer anew"),
      ...(canContinue(answer) ? [button("Continue", actions.more, "Go on behind the last token")] : []),
      this.#copy(),
    ];
    this.buttons.replaceChildren(...(isRunning(answer) ? [button("Stop", actions.stop)] : ended()));
    this.state = answer.state;
  }

  #copy() {
    const kinds = { "": "Copy…", text: "the text", curl: "as curl", python: "as openai-python" };
    const options = Object.entries(kinds).map(([value, label]) => h("option", { value }, label));
    const onchange = (event) => {
      const kind = event.target.value;
      event.target.value = "";
      if (kind) this.actions.copy(kind, this);
    };
    return h("select", { "aria-label": "Copy", onchange }, ...options);
  }

  #nextChanged(from, step) {
    const { tokens } = this.answer;
    for (let i = from + step; i >= 0 && i < tokens.length; i += step) if (tokens[i].changed) return i;
    return from;
  }

  #panel(position) {
    const span = this.text.light(position);
    if (!span) return null;
    const anchor = span.getClientRects()[0] ?? span.getBoundingClientRect();
    const pick = (at_, candidate) => this.actions.pick(at_, candidate);
    return { answer: this.answer, position, span, anchor, pick };
  }

  #look(position) {
    if (candidates.isPinned()) return;
    const panel = this.#panel(position);
    if (panel) candidates.open(panel);
  }

  /** Opens the candidates of a token to choose from. */
  choose(position) {
    const panel = this.#panel(position);
    if (!panel) return;
    this.strip.at = position;
    const closed = () => this.text.dark();
    candidates.open({ ...panel, isPinned: true, back: this.strip.element, closed });
    candidates.focus();
  }

  /** Puts the keyboard at a token. */
  focus(position) {
    this.strip.at = position;
    this.strip.element.focus({ preventScroll: true });
  }
}
