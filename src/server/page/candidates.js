// What each model thought at a position: a table of candidates beside the token, and a way to go on with another one.

import { freshId, h } from "./dom.js";
import { factor, named, percent, probability } from "./text.js";

let panel = null;
/** The token that the panel is for, and whether it stays when the pointer leaves. */
let shown = null;

function element() {
  if (panel) return panel;
  panel = h("div", { id: "candidates", popover: "manual", role: "dialog", "aria-label": "Candidates" });
  panel.addEventListener("keydown", move);
  document.body.append(panel);
  document.addEventListener("pointerdown", (event) => {
    if (shown && !panel.contains(event.target) && !event.target.closest?.(".text, .strip")) close();
  });
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Escape" && shown) {
        event.stopPropagation();
        close(true);
      }
    },
    true,
  );
  addEventListener("scroll", () => shown && !shown.isPinned && close(), { passive: true, capture: true });
  return panel;
}

/**
 * Shows the candidates at a position of an answer, next to `anchor`. `isPinned`: it stays until it is closed. `pick` is called
 * with a candidate to go on with; when a pinned panel closes `closed` is called, and `back` is focused.
 */
export function open({ answer, position, span, anchor, isPinned = false, pick, back, closed = () => {} }) {
  if (shown?.isPinned && !isPinned) return;
  const token = answer.tokens[position];
  if (!token) return;
  shown = { answer, position, isPinned, pick, back, closed };
  const root = element();
  root.replaceChildren(...contents(token, position, isPinned));
  root.classList.toggle("pinned", isPinned);
  root.showPopover();
  // On a narrow screen the panel has the lower part of it: the token goes to the top.
  if (isPinned && matchMedia("(max-width: 760px)").matches) span.scrollIntoView({ block: "start" });
  else place(root, anchor);
}

export const isPinned = () => shown?.isPinned ?? false;

/** Puts the focus on its first candidate. */
export const focus = () => panel?.querySelector("button.candidate")?.focus();

export function close(returnsFocus = false) {
  if (!shown) return;
  const { back, closed } = shown;
  const hadFocus = panel.contains(document.activeElement);
  shown = null;
  panel.hidePopover();
  closed();
  if (returnsFocus || hadFocus) back?.focus({ preventScroll: true });
}

/** The pointer has left the token. */
export function leave() {
  if (shown && !shown.isPinned) close();
}

function place(root, anchor) {
  const { width, height } = root.getBoundingClientRect();
  const { left, top, bottom } = anchor;
  const gap = 6;
  const fits = bottom + gap + height <= innerHeight || top - gap - height < 0;
  root.style.left = `${Math.max(gap, Math.min(left, document.body.clientWidth - width - gap))}px`;
  root.style.top = `${Math.max(gap, fits ? Math.min(bottom + gap, innerHeight - height - gap) : top - gap - height)}px`;
}

/** The columns of the table: `[heading, log-probability of a candidate]`. */
function roles(token) {
  const pairs = Object.keys(token.pairs ?? {});
  if (!pairs.length) return [["probability", (one) => one.steered]];
  const of = (pair, side) => {
    const name = pairs.length > 1 ? `${side} ${pair}` : side;
    return [name, (one) => one.pairs?.[pair]?.[side]];
  };
  const sides = pairs.flatMap((pair) => [of(pair, "expert"), of(pair, "antiexpert")]);
  const there = sides.filter(([, get]) => typeof get(token) === "number");
  return [["base", (one) => one.base], ...there, ["steered", (one) => one.steered]];
}

/** The candidates with the token that was written and the base's top token, the most probable first. */
export function candidates(token) {
  const all = [...(token.top ?? []), token, ...(token.base_top ? [token.base_top] : [])];
  const seen = new Set();
  return all
    .filter(({ id }) => !seen.has(id) && seen.add(id))
    .sort((a, b) => (b.steered ?? -Infinity) - (a.steered ?? -Infinity));
}

function contents(token, position, isPinned) {
  const columns = roles(token);
  const heading = freshId("candidates");
  element().setAttribute("aria-labelledby", heading);
  const rows = candidates(token).map((one) => row(one, token, columns));
  return [
    h("p", { id: heading, class: "lead" }, lead(token, position)),
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h("tr", {}, h("th", { scope: "col" }, "token"), ...columns.map(([name]) => h("th", { scope: "col" }, name))),
      ),
      h("tbody", {}, ...rows),
    ),
    h(
      "p",
      { class: "fine" },
      `Before samplers. ${isPinned ? "Choose a token to go on with it." : "Click the token, or press Enter, to choose another."}`,
    ),
    h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => close(true) }, "✕"),
  ];
}

/** What steering did here, in a sentence. */
export function lead(token, position) {
  const at = `Token ${position + 1}`;
  const picked = token.isPicked ? ", which you picked" : "";
  if (!Object.keys(token.pairs ?? {}).length)
    return `${at}${picked}: “${named(token.token)}”, ${percent(token.steered)}`;
  const top = token.top?.[0];
  const moved = typeof token.divergence === "number" ? ` (KL\u00a0${token.divergence.toFixed(2)}\u00a0nats)` : "";
  if (token.changed) {
    const to = top ? ` to “${named(top.token)}”` : "";
    return `${at}${picked}: steering changed the top token from “${named(token.base_top.token)}”${to}${moved}.`;
  }
  const ratio = Math.exp(token.steered - token.base);
  const by = ratio >= 1 ? `${factor(ratio)} as probable` : `${factor(1 / ratio)} less probable`;
  return `${at}${picked}: steering kept the top token “${named(token.base_top?.token ?? token.token)}”, and made what was written ${by}${moved}.`;
}

function row(one, token, columns) {
  const isWritten = one.id === token.id;
  const isBaseTop = token.base_top?.id === one.id && Object.keys(token.pairs ?? {}).length > 0;
  const marks = [isWritten ? "written" : null, isBaseTop ? "base’s top" : null].filter(Boolean);
  const button = h(
    "button",
    { type: "button", class: "candidate", onclick: () => take(one), "aria-label": `Go on with “${named(one.token)}”` },
    named(one.token),
  );
  const cells = columns.map(([, get]) => {
    const cell = h("td", {}, h("span", {}, percent(get(one))));
    cell.style.setProperty("--share", probability(get(one)).toFixed(4));
    return cell;
  });
  const mark = marks.length ? h("small", {}, marks.join(", ")) : null;
  return h("tr", { class: isWritten ? "written" : "" }, h("th", { scope: "row" }, button, mark), ...cells);
}

function take(one) {
  const { position, pick } = shown;
  close(true);
  pick(position, one);
}

/** Arrow keys lead from candidate to candidate; the focus stays inside. */
function move(event) {
  const buttons = [...panel.querySelectorAll("button")];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key] ?? (event.key === "Tab" ? (event.shiftKey ? -1 : 1) : 0);
  if (!step) return;
  event.preventDefault();
  const at = buttons.indexOf(document.activeElement);
  buttons[(at + step + buttons.length) % buttons.length].focus();
}
