// What steering did to an answer, in words: how often it changed the top token, which tokens it promoted, and from what to what.

import { h } from "./dom.js";
import { changedMost, summarise } from "./summary.js";
import { factor, named } from "./text.js";

export class AnswerSummary {
  /** `choose(position)` is called for a token of the list. */
  constructor(choose) {
    this.choose = choose;
    this.tokens = [];
    this.line = h("p", { class: "summary" });
    this.list = h("ol", { class: "changes" });
    this.details = h(
      "details",
      { hidden: true, ontoggle: () => this.#draw() },
      h("summary", {}, "What it changed most"),
      this.list,
    );
    this.element = h("div", {}, this.line, this.details);
  }

  show(tokens) {
    this.tokens = tokens;
    const { n, nChanged, promoted } = summarise(tokens);
    if (!n) return;
    const share = Math.round((100 * nChanged) / n);
    const names = promoted.flatMap(({ token, factor: by, n: nPlaces }, i) => [
      i ? ", " : " Made more probable over the whole answer: ",
      h("q", {}, named(token)),
      ` ${factor(by)}${nPlaces > 1 ? ` at ${nPlaces} places` : ""}`,
    ]);
    const head = h("b", {}, `Steering changed the top token at ${nChanged} of ${n} positions`);
    this.line.replaceChildren(head, ` (${share} %).`, ...names, names.length ? "." : "");
    this.details.hidden = nChanged === 0;
    this.#draw();
  }

  #draw() {
    if (!this.details.open) return;
    const entries = changedMost(this.tokens).map(({ position, from, to, token, divergence }) => {
      const wrote = token === to ? "" : `, wrote “${named(token)}”`;
      const words = `“${named(from)}” → “${named(to)}”${wrote} (KL\u00a0${divergence.toFixed(2)})`;
      const button = h("button", { type: "button", onclick: () => this.choose(position) }, `Token ${position + 1}`);
      return h("li", {}, button, ` ${words}`);
    });
    this.list.replaceChildren(...entries);
  }
}
