// How strongly steering acted along an answer: a bar for each token, and α over them. It is also how the keyboard gets from
// token to token.

import { h } from "./dom.js";

/** A divergence of so many nats fills the strip. */
const FULL = 4;

export class Strip {
  /** `look(position)` is called as the keyboard or the pointer moves, `choose(position)` when one is asked for more. */
  constructor({ label, look, choose, leave, describe, next }) {
    Object.assign(this, { look, choose, describe, next, n: 0, at: 0, draws: null });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.element = h(
      "div",
      {
        class: "strip",
        role: "slider",
        tabIndex: 0,
        "aria-label": label,
        "aria-valuemin": "1",
        onkeydown: (event) => this.#key(event),
        onfocus: () => this.element.matches(":focus-visible") && this.#go(this.at),
        onblur: leave,
        onclick: (event) => {
          this.#go(this.#under(event));
          this.choose(this.at);
        },
        onmousemove: (event) => this.look(this.#under(event)),
        onmouseleave: leave,
      },
      this.canvas,
    );
    new ResizeObserver(() => this.draw()).observe(this.element);
    this.#tell();
  }

  #under(event) {
    const { left, width } = this.canvas.getBoundingClientRect();
    return Math.max(0, Math.min(this.n - 1, Math.floor(((event.clientX - left) / width) * this.n)));
  }

  #key(event) {
    const to = {
      ArrowRight: this.at + 1,
      ArrowLeft: this.at - 1,
      Home: 0,
      End: this.n - 1,
      PageDown: this.next(this.at, 1),
      PageUp: this.next(this.at, -1),
    }[event.key];
    if (to !== undefined) this.#go(to);
    else if (event.key === "Enter" || event.key === " ") this.choose(this.at);
    else return;
    event.preventDefault();
  }

  #go(to) {
    if (!this.n) return;
    this.at = Math.max(0, Math.min(this.n - 1, to));
    this.#tell();
    this.look(this.at, true);
  }

  #tell() {
    this.element.setAttribute("aria-valuemax", String(Math.max(1, this.n)));
    this.element.setAttribute("aria-valuenow", String(Math.min(this.at, Math.max(0, this.n - 1)) + 1));
    this.element.setAttribute("aria-valuetext", this.n ? this.describe(this.at) : "no token yet");
  }

  /** `tokens` have `divergence` and `changed`; `alpha(position)` is drawn as a line where there is one. */
  show(tokens, alpha) {
    const isNew = this.n !== tokens.length;
    this.n = tokens.length;
    this.draws = { tokens, alpha };
    if (isNew) this.#tell();
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!this.draws || !width) return;
    const { tokens, alpha } = this.draws;
    const ratio = devicePixelRatio || 1;
    const [w, h_] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h_) Object.assign(this.canvas, { width: w, height: h_ });
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.element);
    const colour = (name) => style.getPropertyValue(name).trim();
    context.clearRect(0, 0, w, h_);
    const n = Math.max(tokens.length, 1);
    const step = w / n;
    const gap = step > 4 * ratio ? ratio : 0;
    for (const [i, { divergence, changed }] of tokens.entries()) {
      if (typeof divergence !== "number") continue;
      const share = Math.sqrt(Math.min(1, divergence / FULL));
      const bar = Math.max(ratio, share * (h_ - 2 * ratio));
      context.fillStyle = colour(changed ? "--bar-changed" : "--bar");
      context.fillRect(i * step, h_ - bar, Math.max(ratio, step - gap), bar);
    }
    if (alpha) this.#line(context, alpha, { n, step, h_, ratio, colour });
  }

  #line(context, alpha, { n, step, h_, ratio, colour }) {
    const values = Array.from({ length: n }, (_, i) => alpha(i));
    const [least, most] = [Math.min(0, ...values), Math.max(1, ...values)];
    context.strokeStyle = colour("--alpha-line");
    context.lineWidth = 1.5 * ratio;
    context.beginPath();
    for (const [i, value] of values.entries()) {
      const y = h_ - 2 * ratio - ((value - least) / (most - least)) * (h_ - 4 * ratio);
      context.lineTo(i * step, y);
      context.lineTo((i + 1) * step, y);
    }
    context.stroke();
  }
}
