// Answers that are being written: one request each, which can be stopped, and steered on the way.

import * as answers from "./answer.js";
import { ApiError, key, post, stream } from "./api.js";
import { keep, keepSoon, shown } from "./conversation.js";
import { askKey } from "./dialogs.js";
import { atMostEvery } from "./dom.js";
import { sent } from "./schedule.js";
import { isSteered, schedules, weightsOf } from "./served.js";
import { banner, say, whenThere } from "./status.js";

/** By answer: what ends it, and its column. */
const running = new Map();

/** Calls `f` whenever something has begun or ended. */
export const onChange = (f) => {
  changed = f;
};
let changed = () => {};

export const isAnyRunning = () => running.size > 0;

/** Tokens of the answer that a column is writing. */
export const nWritten = (column) => [...running].find(([, run]) => run.column === column)?.[0].tokens.length ?? 0;

export const stop = (answer) => running.get(answer)?.controller.abort();

export const stopAll = () => [...running.keys()].forEach(stop);

/** Asks for an answer, and lets it grow until it ends; `update(isOver)` is called whenever it has. */
export async function write(answer, column, update) {
  const run = { controller: new AbortController(), column, isMoved: false };
  running.set(answer, run);
  changed();
  try {
    for await (const chunk of stream(answer.path, answer.body, run.controller.signal)) {
      answers.grow(answer, chunk);
      if (run.isMoved) steer(column);
      update(false);
      keepSoon();
    }
  } catch (error) {
    if (error.name === "AbortError") answer.state = "stopped";
    else failed(answer, error);
  }
  running.delete(answer);
  update(true);
  await keep();
  changed();
}

function failed(answer, error) {
  answers.fail(answer, { message: error.message, type: error.type });
  if (!(error instanceof ApiError)) throw error;
  if (error.needsKey) {
    key.drop();
    askKey(error.message).then((isGiven) => isGiven && say("The key is taken. Choose Regenerate."));
  } else if (error.isAway) whenThere(error.message);
}

const moved = new Set();
const tell = atMostEvery(60, () => {
  for (const [answer, run] of running) if (moved.has(run.column) && isSteered(answer.model)) tellOne(answer, run);
  moved.clear();
});

/** Tells the running answers of a column how far they are steered from the next token on. */
export function steer(column) {
  moved.add(column);
  tell();
}

function tellOne(answer, run) {
  // Before its first chunk nobody knows how it is called.
  run.isMoved = !answer.id;
  if (!answer.id) return;
  const { alphas } = shown.columns[run.column];
  // A recipe's own weights cannot be set again on the way.
  if (weightsOf(answer.model, alphas)) return;
  const pairs = Object.fromEntries(schedules(answer.model, alphas).map(([pair, alpha]) => [pair, sent(alpha)]));
  post(`proxy/${answer.id}`, { pairs }).catch((error) => {
    // It may have ended on the way.
    if (error.status !== 404) banner(error.message);
  });
}
