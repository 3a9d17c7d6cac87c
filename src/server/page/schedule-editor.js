// α along the answer, drawn: drag over the field to draw a line, drag a point, or move it with the arrow keys.

import { freshId, h, svg } from "./dom.js";
import { drawn, format, parse } from "./schedule.js";

const [WIDTH, HEIGHT, PAD] = [480, 120, 10];
const [LEAST, MOST] = [-1, 3];
/** Positions that are shown at least. */
const N_LEAST = 64;

export class ScheduleEditor {
  /** `get()` gives the schedule's text, `set(text)` takes a new one; `positions()` how long an answer is. */
  constructor({ name, get, set, positions }) {
    Object.assign(this, { name, get, set, positions, line: null });
    this.picture = svg("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      class: "schedule",
      role: "group",
      "aria-label": `α of ${name} along the answer`,
    });
    this.picture.addEventListener("pointerdown", (event) => this.#down(event));
    this.picture.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) this.picture.addEventListener(end, () => this.#up());
    const id = freshId("schedule");
    this.fault = h("p", { class: "error", id: `${id}-fault`, role: "status" });
    this.field = h("input", {
      id,
      type: "text",
      spellcheck: false,
      "aria-describedby": `${id}-fault`,
      oninput: () => this.#typed(),
    });
    this.element = h(
      "div",
      { class: "schedule-editor" },
      this.picture,
      h(
        "p",
        { class: "fine" },
        "Drag to draw a line, click for a step, or write it: 1@0..0.5@64 is a line, 1@0,0.5@64 a step.",
      ),
      h("label", { for: id }, "Schedule "),
      this.field,
      this.fault,
    );
    this.draw();
  }

  get #n() {
    const knots = this.#knots();
    return Math.max(N_LEAST, this.positions(), Math.ceil(knots.at(-1).position * 1.25));
  }

  #knots() {
    try {
      return parse(this.get());
    } catch {
      return [{ alpha: 1, position: 0, isRamp: false }];
    }
  }

  #x = (position, n) => PAD + (position / n) * (WIDTH - 2 * PAD);
  #y = (alpha) =>
    HEIGHT - PAD - ((Math.max(LEAST, Math.min(MOST, alpha)) - LEAST) / (MOST - LEAST)) * (HEIGHT - 2 * PAD);

  draw() {
    if (document.activeElement !== this.field) this.field.value = this.get();
    const [n, knots] = [this.#n, this.#knots()];
    const grid = [0, 1, 2].map((alpha) =>
      svg(
        "g",
        {},
        svg("line", { x1: PAD, x2: WIDTH - PAD, y1: this.#y(alpha), y2: this.#y(alpha), class: "grid" }),
        text(WIDTH - PAD, this.#y(alpha) - 2, String(alpha), "end"),
      ),
    );
    const points = knots.flatMap(({ alpha, position, isRamp }, i) => {
      const next = knots[i + 1]?.position ?? n;
      return isRamp
        ? [[position, alpha]]
        : [
            [position, alpha],
            [next, alpha],
          ];
    });
    const path = points.map(([position, alpha]) => `${this.#x(position, n)},${this.#y(alpha)}`).join(" ");
    const focused = [...this.picture.querySelectorAll("circle")].indexOf(document.activeElement);
    const circles = knots.map((knot, i) => this.#point(knot, i, n));
    this.picture.replaceChildren(
      ...grid,
      text(PAD, HEIGHT - 1, "0"),
      text(WIDTH - PAD, HEIGHT - 1, `token ${n}`, "end"),
      svg("polyline", { points: path, class: "line" }),
      ...circles,
    );
    if (focused >= 0) circles[Math.min(focused, circles.length - 1)].focus();
  }

  #point({ alpha, position }, i, n) {
    const point = svg("circle", {
      cx: this.#x(position, n),
      cy: this.#y(alpha),
      r: 7,
      tabindex: 0,
      role: "slider",
      "data-i": i,
      "aria-label": `Point ${i + 1}`,
      "aria-valuemin": LEAST,
      "aria-valuemax": MOST,
      "aria-valuenow": alpha,
      "aria-valuetext": `α ${alpha} from token ${position} on; left and right move it along, Delete removes it, Insert adds one`,
    });
    point.addEventListener("keydown", (event) => this.#key(event, i));
    return point;
  }

  #change(knots) {
    this.set(format(knots));
    this.draw();
  }

  /** A point at another place, between its neighbours. */
  #put(i, { alpha, position }) {
    const knots = this.#knots();
    const [least, most] = [i ? knots[i - 1].position + 1 : 0, i + 1 < knots.length ? knots[i + 1].position - 1 : 1e6];
    knots[i].alpha = Math.round(Math.max(LEAST, Math.min(MOST, alpha)) * 100) / 100;
    knots[i].position = i ? Math.max(least, Math.min(most, Math.round(position))) : 0;
    this.#change(knots);
  }

  #key(event, i) {
    const knots = this.#knots();
    const { alpha, position } = knots[i];
    const far = event.shiftKey ? 8 : 1;
    const to = {
      ArrowUp: { alpha: alpha + 0.05 * far, position },
      ArrowDown: { alpha: alpha - 0.05 * far, position },
      ArrowRight: { alpha, position: position + far },
      ArrowLeft: { alpha, position: position - far },
    }[event.key];
    if (to) this.#put(i, to);
    else if (event.key === "Delete" && i > 0) this.#change(knots.toSpliced(i, 1));
    else if (event.key === "Insert") {
      const next = { alpha, position: (knots[i + 1]?.position ?? position + 32) - 1, isRamp: knots[i].isRamp };
      if (next.position > position)
        this.#change(knots.with(i, { ...knots[i], isRamp: true }).toSpliced(i + 1, 0, next));
    } else return;
    event.preventDefault();
  }

  #under(event) {
    const { left, top, width, height } = this.picture.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * WIDTH;
    const y = ((event.clientY - top) / height) * HEIGHT;
    const share = (x - PAD) / (WIDTH - 2 * PAD);
    const alpha = LEAST + ((HEIGHT - PAD - y) / (HEIGHT - 2 * PAD)) * (MOST - LEAST);
    return {
      position: Math.max(0, Math.round(share * this.line.n)),
      alpha: Math.round(Math.max(LEAST, Math.min(MOST, alpha)) * 100) / 100,
    };
  }

  #down(event) {
    this.picture.setPointerCapture(event.pointerId);
    const i = event.target.dataset?.i;
    this.line = { n: this.#n, knots: this.#knots(), dragged: i === undefined ? null : Number(i), points: [] };
    event.preventDefault();
    if (i !== undefined) event.target.focus();
    this.#move(event);
  }

  #move(event) {
    if (!this.line) return;
    const point = this.#under(event);
    if (this.line.dragged !== null) return this.#put(this.line.dragged, point);
    this.line.points = [...this.line.points.filter(({ position }) => position !== point.position), point].sort(
      (a, b) => a.position - b.position,
    );
    this.#change(drawn(this.line.knots, this.line.points));
  }

  #up() {
    this.line = null;
    this.draw();
  }

  #typed() {
    try {
      parse(this.field.value);
      this.set(this.field.value.trim());
      this.fault.textContent = "";
    } catch (error) {
      this.fault.textContent = error.message;
    }
    this.field.setAttribute("aria-invalid", String(this.fault.textContent !== ""));
    this.draw();
  }
}

const text = (x, y, content, anchor = "start") =>
  svg("text", { x, y, "text-anchor": anchor, class: "tick", "aria-hidden": "true" }, content);
