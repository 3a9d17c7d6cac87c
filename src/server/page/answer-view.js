// An answer on the page. New tokens are added to what is there: an answer of some thousand tokens is never drawn again.

import { canContinue, isRunning } from "./answer.js";
import * as candidates from "./candidates.js";
import { atMostEvery, h } from "./dom.js";
import { along, at, parse } from "./schedule.js";
import { Strip } from "./strip.js";
import { shade, summarise } from "./summary.js";
import { Decoder, factor, named, visible } from "./text.js";

/** A text that grows is laid out anew each time: ten times a second is often enough, and leaves the machine to the models. */
const DRAW_MS = 100;

export class AnswerView {
  /** `actions`: what can be done with it: stop, again, more, pick(position, candidate), copy(kind), variant(step). */
  constructor(answer, { name, isSteered, pairs, place, actions }) {
    Object.assign(this, { answer, isSteered, pairs, actions, nShown: 0, nChars: 0, lit: null, summarisedAt: 0 });
    this.decoder = new Decoder();
    this.spans = [];
    this.summary = h("p", { class: "summary" });
    this.text = h("div", {
      class: "text",
      dir: "auto",
      onmouseover: (event) => this.#over(event),
      onmouseout: candidates.leave,
    });
    this.text.addEventListener("click", (event) => this.#click(event));
    this.strip = new Strip({
      label: `Tokens of ${name}’s answer: arrows to move, Page keys for the next one that steering changed, Enter to open`,
      look: (position) => this.#look(position),
      choose: (position) => this.#pin(position, this.strip.element),
      leave: () => this.#dark(),
      describe: (position) => candidates.lead(answer.tokens[position], position),
      next: (from, step) => this.#nextChanged(from, step),
    });
    this.notes = h("div", { class: "notes" });
    this.meta = h("span", { class: "meta" });
    this.buttons = h("span", { class: "actions" });
    this.variants = this.#variants(place);
    this.element = h(
      "article",
      { class: `answer${isSteered ? " steered" : ""}`, "aria-label": `${name}’s answer` },
      this.strip.element,
      this.text,
      this.summary,
      this.notes,
      h("footer", {}, this.meta, this.variants, this.buttons),
    );
    this.update = atMostEvery(DRAW_MS, () => this.#draw());
    this.#draw();
  }

  #variants({ at: which, n }) {
    if (n < 2) return null;
    const turn = (step, label) =>
      h(
        "button",
        {
          type: "button",
          "aria-label": label,
          disabled: which + step < 0 || which + step >= n,
          onclick: () => this.actions.variant(step),
        },
        step < 0 ? "‹" : "›",
      );
    return h(
      "span",
      { class: "variants" },
      turn(-1, "Earlier answer"),
      ` ${which + 1} of ${n} `,
      turn(1, "Later answer"),
    );
  }

  #draw() {
    const { answer } = this;
    const isDone = !isRunning(answer);
    this.#append();
    if (isDone) this.#cut();
    if (this.state !== answer.state) this.#actions();
    this.element.dataset.state = answer.state;
    this.strip.element.hidden = answer.tokens.length === 0;
    // The figures need every token: while it is written, a few times a second will do.
    if (isDone || performance.now() - this.summarisedAt > 300) {
      this.summarisedAt = performance.now();
      this.#summarise();
      this.strip.show(answer.tokens, this.isSteered ? this.#alpha() : null);
    }
    this.#meta();
  }

  /** Spans for the tokens that have come since. */
  #append() {
    const fresh = this.answer.tokens.slice(this.nShown);
    if (!fresh.length) return;
    const spans = fresh.map((token, i) => {
      const text = this.decoder.next(token);
      // A line break by itself is drawn, so that it can be pointed at.
      const isBreak = /^\n+$/.test(text);
      const span = h("span", { textContent: visible(text), class: `${this.#class(token)}${isBreak ? " break" : ""}` });
      span.dataset.i = String(this.nShown + i);
      this.nChars += text.length;
      this.spans.push({ span, end: this.nChars });
      return span;
    });
    this.nShown += fresh.length;
    this.text.append(...spans);
  }

  #class({ divergence, changed, isPicked }) {
    const shading = this.isSteered ? `k${shade(divergence)}` : "";
    return `t ${shading}${changed && this.isSteered ? " changed" : ""}${isPicked ? " picked" : ""}`;
  }

  /** Tokens behind the end of the text: of a stop string, or the one that ends it. */
  #cut() {
    const { text, finish, tokens } = this.answer;
    for (const [i, { span, end }] of this.spans.entries()) {
      const isEnd = finish === "stop" && i === this.spans.length - 1 && tokens[i].token === "";
      const isCut = end > text.length || isEnd;
      span.classList.toggle("end", isCut);
      if (isCut) span.textContent = "■";
    }
  }

  #summarise() {
    const { answer, isSteered } = this;
    if (!isSteered || !answer.tokens.length) {
      this.summary.replaceChildren();
      return;
    }
    const { n, nChanged, promoted } = summarise(answer.tokens);
    const share = Math.round((100 * nChanged) / n);
    const names = promoted.flatMap(({ token, factor: by }, i) => [
      i ? ", " : " Promoted most: ",
      h("q", {}, named(token)),
      ` ${factor(by)}`,
    ]);
    this.summary.replaceChildren(
      h("b", {}, `Steering changed the top token at ${nChanged} of ${n} positions`),
      ` (${share} %).`,
      ...names,
    );
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
    return this.pairs.map((_, i) =>
      along(changes.map(({ position, alphas }) => ({ position, alpha: alphas[i] ?? "0" }))),
    );
  }

  /** How far it was steered. */
  #steering() {
    const { weights, changes } = this.answer;
    if (!weights) return `α ${this.alphas.join(" · ")}`;
    const later = changes
      .slice(1)
      .map(({ position, alphas }) => `, α ${alphas.join(" · ")} from token ${position + 1}`);
    return `${weights}${later.join("")}`;
  }

  #meta() {
    const { answer } = this;
    const { timings, tokens, error, state, finish } = answer;
    const n = tokens.length;
    const speed = timings?.predicted_per_second ? `, ${timings.predicted_per_second.toFixed(1)} tokens/s` : "";
    const alphas = this.isSteered && answer.changes.length ? ` · ${this.#steering()}` : "";
    const ends = { length: "length reached", stop: "ended" }[finish];
    const words = {
      waiting: "waiting for the first token…",
      stopped: "stopped",
      failed: "failed",
      done: ends ?? finish ?? "",
    };
    const parts = [n ? `${n} tokens${speed}` : "", words[state] ?? "writing…"].filter(Boolean);
    this.meta.textContent = `${parts.join(" · ")}${alphas}`;
    const notes = answer.notes.map((note) => h("p", { class: "note" }, note));
    const fault = error ? [h("p", { class: "error" }, error.message)] : [];
    const key = JSON.stringify([answer.notes, error]);
    if (key !== this.notesKey) this.notes.replaceChildren(...fault, ...notes);
    this.notesKey = key;
  }

  #actions() {
    const { answer, actions } = this;
    const button = (label, onclick, title) => h("button", { type: "button", onclick, title }, label);
    const copy = h(
      "select",
      {
        "aria-label": "Copy",
        onchange: (event) => {
          const kind = event.target.value;
          event.target.value = "";
          if (kind) actions.copy(kind, this);
        },
      },
      ...[
        ["", "Copy…"],
        ["text", "the text"],
        ["curl", "as curl"],
        ["python", "as openai-python"],
      ].map(([value, label]) => h("option", { value }, label)),
    );
    const isRunning_ = isRunning(answer);
    this.buttons.replaceChildren(
      ...(isRunning_
        ? [button("Stop", actions.stop)]
        : [
            button("Regenerate", actions.again, "Answer anew"),
            ...(canContinue(answer) ? [button("Continue", actions.more, "Go on behind the last token")] : []),
            copy,
          ]),
    );
    this.state = answer.state;
  }

  #nextChanged(from, step) {
    const { tokens } = this.answer;
    for (let i = from + step; i >= 0 && i < tokens.length; i += step) if (tokens[i].changed) return i;
    return from;
  }

  #over(event) {
    const span = event.target.closest(".t");
    if (span) this.#look(Number(span.dataset.i));
  }

  #click(event) {
    const span = event.target.closest(".t");
    // Whoever selects text to copy it asks for no candidates.
    if (span && getSelection().isCollapsed) this.#pin(Number(span.dataset.i), this.strip.element);
  }

  #panel(position) {
    const { span } = this.spans[position] ?? {};
    if (!span) return null;
    this.#light(span);
    const anchor = span.getClientRects()[0] ?? span.getBoundingClientRect();
    const pick = (at_, candidate) => this.actions.pick(at_, candidate);
    return { answer: this.answer, position, anchor, pick };
  }

  #look(position) {
    const panel = this.#panel(position);
    if (panel) candidates.open(panel);
  }

  #pin(position, back) {
    const panel = this.#panel(position);
    if (!panel) return;
    this.strip.at = position;
    candidates.open({ ...panel, isPinned: true, back });
    candidates.focus();
  }

  #light(span) {
    this.lit?.classList.remove("at");
    this.lit = span;
    span.classList.add("at");
  }

  #dark() {
    candidates.leave();
    this.lit?.classList.remove("at");
  }
}
