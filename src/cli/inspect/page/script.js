"use strict";
// What was found stands in the page as JSON. Everything that is shown of it becomes text of an element, and no markup.
const { roles, tokens } = JSON.parse(document.getElementById("data").textContent);
const found = tokens.map(([text, position, name, kl, standings, tops, changed], i) => ({
  i, text, position, name, kl, standings, baseTop: tops[0], steeredTop: tops[1], changed,
}));
const spans = [...document.querySelectorAll(".t")];
const panel = document.getElementById("panel");
const isOneText = document.querySelectorAll("article").length === 1;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function percent(share) {
  if (share === undefined) return "–";
  const percents = 100 * share;
  if (percents >= 99.95) return "100 %";
  if (percents >= 10) return `${percents.toFixed(0)} %`;
  return percents >= 0.1 ? `${percents.toFixed(1)} %` : "< 0.1 %";
}
const place = ({ text, position }) => (isOneText ? `${position}` : `${text}:${position}`);

// The panel: each role's probability and rank at a token.

let at = null;
/** The panel is of the token with the focus, and the pointer does not take it elsewhere. */
let isPinned = false;

function lead(token) {
  const [from, to] = [token.baseTop, token.steeredTop].map(([name]) => `“${name}”`);
  const did = token.changed ? `changed the top token from ${from} to ${to}` : `kept the top token, ${from}`;
  return `Token ${place(token)}: steering ${did} (KL\u00a0${token.kl.toFixed(2)}\u00a0nats).`;
}

function show(i) {
  at?.classList.remove("at");
  at = spans[i];
  at.classList.add("at");
  const token = found[i];
  const names = [...new Set([token.name, token.baseTop[0], token.steeredTop[0]])];
  const rows = roles.map((role, r) => {
    const [share, rank] = token.standings[r] ?? [];
    const cell = element("span", { textContent: percent(share) });
    cell.style.setProperty("--share", share ?? 0);
    return element("tr", {}, element("th", { scope: "row", textContent: role }), element("td", {}, cell),
      element("td", { textContent: rank ?? "–" }));
  });
  const tops = names.filter((name) => name !== token.name).map((name) => {
    const [, base, steered] = name === token.baseTop[0] ? token.baseTop : token.steeredTop;
    return element("div", { className: "fine", textContent: `“${name}”: base ${percent(base)}, steered ${percent(steered)}` });
  });
  const heads = [`“${token.name}”`, "probability", "rank"].map((text) => element("th", { scope: "col", textContent: text }));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
  panel.replaceChildren(element("p", { textContent: lead(token) }), table, ...tops);
  panel.hidden = false;
  beside(at);
}

function beside(token) {
  const { left, top, bottom } = token.getClientRects()[0] ?? token.getBoundingClientRect();
  const { width, height } = panel.getBoundingClientRect();
  const fits = bottom + 8 + height <= innerHeight || top - 8 - height < 0;
  panel.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - width - 8))}px`;
  panel.style.top = `${fits ? Math.min(bottom + 8, innerHeight - height - 8) : top - 8 - height}px`;
}

function hide() {
  at?.classList.remove("at");
  [at, isPinned] = [null, false];
  panel.hidden = true;
}

// One token of each text is reached with Tab; arrow keys lead on from there.
for (const text of document.querySelectorAll(".text")) {
  const first = text.querySelector(".t");
  if (first) first.tabIndex = 0;
}

function go(i, block = "nearest") {
  const to = spans[i];
  if (!to) return;
  for (const other of to.parentElement.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
  to.tabIndex = 0;
  to.focus({ preventScroll: true });
  // Again where it has it already, and Escape has closed the panel.
  isPinned = true;
  show(i);
  to.scrollIntoView({ block });
}

const indexOf = (target) => {
  const span = target.closest?.(".t");
  return span ? Number(span.dataset.i) : null;
};
document.addEventListener("pointerover", (event) => {
  const i = indexOf(event.target);
  if (isPinned) return;
  if (i === null) hide();
  else show(i);
});
document.addEventListener("focusin", (event) => {
  const i = indexOf(event.target);
  if (i === null) return;
  isPinned = true;
  show(i);
});
document.addEventListener("focusout", hide);
document.addEventListener("click", (event) => {
  const i = indexOf(event.target);
  if (i !== null) go(i);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
  const i = indexOf(event.target);
  if (i === null) return;
  const changed = (step) => {
    let to = i + step;
    while (found[to] && !found[to].changed) to += step;
    return to;
  };
  const keys = {
    ArrowRight: () => i + 1, ArrowLeft: () => i - 1, ArrowDown: () => changed(1), ArrowUp: () => changed(-1),
    Home: () => 0, End: () => spans.length - 1,
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  go(keys[event.key]());
});
addEventListener("scroll", () => (isPinned ? beside(at) : hide()), { passive: true });

// The list.

const table = document.getElementById("list");
const more = document.getElementById("more");
const KEYS = {
  place: ({ i }) => i,
  base: ({ standings }) => standings[0]?.[0] ?? 0,
  steered: ({ standings }) => standings.at(-1)?.[0] ?? 0,
  kl: ({ kl }) => kl,
};
const STEP = 25;
let sorted = { key: "kl", isDescending: true };
let nShown = STEP;

function row(token) {
  const [base, steered] = [token.standings[0], token.standings.at(-1)];
  const button = element("button", { type: "button", textContent: place(token), title: "Show it in the text" });
  button.addEventListener("click", () => go(token.i, "center"));
  const called = (text) => element("span", { className: "called", textContent: text });
  const written = element("td", { className: "called" }, called(token.name));
  if (token.changed) written.firstChild.classList.add("changed");
  return element("tr", {}, element("td", {}, button), written,
    element("td", { textContent: percent(base?.[0]) }), element("td", { textContent: percent(steered?.[0]) }),
    element("td", { className: "wide", textContent: `${base?.[1] ?? "–"} → ${steered?.[1] ?? "–"}` }),
    element("td", { className: "wide called" }, called(token.baseTop[0])),
    element("td", { textContent: token.kl.toFixed(2) }));
}

function list() {
  const key = KEYS[sorted.key];
  const sign = sorted.isDescending ? -1 : 1;
  const all = [...found].sort((a, b) => sign * (key(a) - key(b)) || a.i - b.i);
  table.tBodies[0].replaceChildren(...all.slice(0, nShown).map(row));
  for (const button of table.querySelectorAll("[data-sort]")) {
    const th = button.closest("th");
    if (button.dataset.sort === sorted.key) th.setAttribute("aria-sort", sorted.isDescending ? "descending" : "ascending");
    else th.removeAttribute("aria-sort");
  }
  more.hidden = nShown >= found.length;
}

for (const button of table.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => {
    const key = button.dataset.sort;
    const isDescending = key === sorted.key ? !sorted.isDescending : key !== "place";
    sorted = { key, isDescending };
    list();
  });
}
more.addEventListener("click", () => {
  nShown += 4 * STEP;
  list();
});
table.hidden = false;
list();
