// The text of an answer: a span for each token. New ones are added to what is there, so that an answer of some thousand
// tokens is never drawn again.

import { h } from "./dom.js";
import { shade } from "./summary.js";
import { Decoder, visible } from "./text.js";

export class AnswerText {
  /** `look(position)` is called for the token under the pointer, `leave()` when there is none, `choose(position)` for a click. */
  constructor({ isSteered, look, leave, choose }) {
    Object.assign(this, { isSteered, nChars: 0, lit: null, spans: [], decoder: new Decoder() });
    const at = (event, f) => {
      const span = event.target.closest(".t");
      if (span) f(Number(span.dataset.i));
    };
    this.element = h("div", {
      class: "text",
      dir: "auto",
      onmouseover: (event) => at(event, look),
      onmouseout: leave,
      // Whoever selects text to copy it asks for no candidates.
      onclick: (event) => getSelection().isCollapsed && at(event, choose),
    });
  }

  /** Spans for the tokens that have come since. */
  append(tokens) {
    const fresh = tokens.slice(this.spans.length);
    if (fresh.length) this.element.append(...fresh.map((token) => this.#span(token)));
  }

  #span(token) {
    const text = this.decoder.next(token);
    const { divergence, changed, isPicked } = token;
    const isChanged = changed && this.isSteered;
    const classes = [
      "t",
      this.isSteered ? `k${shade(divergence)}` : "",
      isChanged ? "changed" : "",
      isPicked ? "picked" : "",
      // A line break by itself is drawn, so that it can be pointed at.
      /^\n+$/.test(text) ? "break" : "",
    ];
    const span = h("span", { class: classes.filter(Boolean).join(" ") });
    // The line below a word does not begin in the space in front of it.
    const [space, word] = isChanged ? [/^\s*/.exec(text)[0], text.trimStart()] : [text, ""];
    span.append(visible(space), ...(word ? [h("u", {}, visible(word))] : []));
    span.dataset.i = String(this.spans.length);
    this.nChars += text.length;
    this.spans.push({ span, end: this.nChars });
    return span;
  }

  /** Of an answer that has ended: tokens behind the end of its text, which are of a stop string, and the one that ended it. */
  cut({ text, finish, tokens }) {
    for (const [i, { span, end }] of this.spans.entries()) {
      const isEnd = finish === "stop" && i === this.spans.length - 1 && tokens[i].token === "";
      const isCut = end > text.length || isEnd;
      span.classList.toggle("end", isCut);
      if (isCut) span.textContent = "■";
    }
  }

  /** Marks a token; where it is, or nothing if there is none. */
  light(position) {
    const { span } = this.spans[position] ?? {};
    if (!span) return null;
    this.dark();
    this.lit = span;
    span.classList.add("at");
    return span;
  }

  dark() {
    this.lit?.classList.remove("at");
    this.lit = null;
  }
}
