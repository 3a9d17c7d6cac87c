// The conversation that is shown, as plain data:
//
//   {id, title, mode, columns: [{model, alphas}], settings, system, turns: [{prompt, answers}], updated}
//
// `answers` has an entry for each column: the answers that it has given to the prompt, and which of them is shown.

import { isRunning } from "./answer.js";
import { usual } from "./columns.js";
import { atMostEvery } from "./dom.js";
import { factsOf, ids } from "./served.js";
import { banner } from "./status.js";
import * as store from "./store.js";

/** What is set where nobody sets anything: three models that ramble are three times too long. */
export const SETTINGS = { max_tokens: 256 };

export let shown = null;

const freshId = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;

/** One without turns; `like` another one. */
export function fresh(like = {}) {
  const { mode, columns, settings, system } = structuredClone(like);
  return {
    id: freshId(),
    title: "",
    mode: mode ?? (factsOf(ids[0])?.chat_template ? "chat" : "text"),
    columns: columns ?? usual(ids),
    settings: settings ?? { ...SETTINGS },
    system: system ?? "",
    turns: [],
    updated: Date.now(),
  };
}

/** One of its own, with the turns before one: nothing of the old one is lost. */
export function fork(at) {
  const copied = structuredClone(shown);
  // One without turns is called by its first prompt.
  const title = at > 0 ? `${copied.title} (copy)` : "";
  return { ...copied, id: freshId(), title, turns: copied.turns.slice(0, at) };
}

/** Makes one the shown one. */
export function show(conversation) {
  // What was being written when the page was left was stopped by that.
  for (const answer of conversation.turns.flatMap(({ answers }) => answers.flatMap((list) => list?.variants ?? []))) {
    if (isRunning(answer)) answer.state = "stopped";
  }
  shown = conversation;
  address();
}

/** The address of the page names the conversation, so that reloading brings it back. */
export function address() {
  const { pathname, search } = location;
  history.replaceState(null, "", `${pathname}${search}${shown.turns.length ? `#${shown.id}` : ""}`);
}

/** The one that the address names, if it is kept here. */
export const addressed = async () =>
  location.hash.length > 1 ? store.get(location.hash.slice(1)).catch(() => null) : null;

/** Keeps it in the browser. */
export async function keep() {
  if (!shown?.turns.length) return;
  shown.updated = Date.now();
  try {
    await store.put(shown);
  } catch (error) {
    banner(`This conversation cannot be kept in the browser: ${error.message}. Export it before you leave.`);
  }
}

export const keepSoon = atMostEvery(2000, keep);
