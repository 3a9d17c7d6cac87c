// What is asked of the server for one column, as plain data: a path and a body.

import { sent } from "./schedule.js";

/** Candidates that are asked for at every position. */
export const N_CANDIDATES = 8;

/** The column's own conversation up to a turn: its own answers, as they are shown. */
function messages({ system, turns }, column, at) {
  const list = system ? [{ role: "system", content: system }] : [];
  for (const [i, turn] of turns.slice(0, at + 1).entries()) {
    list.push({ role: "user", content: turn.prompt });
    const answer = current(turn, column);
    if (i < at && answer?.text) list.push({ role: "assistant", content: answer.text });
  }
  return list;
}

/** The answer of a column that is shown, of those that it has given to a turn. */
export function current(turn, column) {
  const answers = turn.answers[column];
  return answers?.variants[answers.at];
}

/** How far a request steers: nothing is sent that is as the recipe has it. */
export function proxy(alphas, begun = []) {
  const asked = { explain: N_CANDIDATES };
  const set = Object.entries(alphas ?? {}).filter(([, alpha]) => alpha !== null);
  if (set.length) asked.pairs = Object.fromEntries(set.map(([name, alpha]) => [name, sent(alpha)]));
  if (begun.length) asked.begin = begun.map(({ id }) => id);
  return asked;
}

/** The request of a column for a turn. `begun`: tokens that the answer begins with. */
export function request(conversation, at, column, seed, begun = []) {
  const { mode, columns, settings, turns } = conversation;
  const { model, alphas } = columns[column];
  const { plausibility, ...sampling } = settings;
  const body = { model, stream: true, seed, ...sampling };
  if (mode === "chat") body.messages = messages(conversation, column, at);
  else body.prompt = turns[at].prompt;
  body.proxy = proxy(alphas, begun);
  if (plausibility !== undefined) body.proxy.plausibility = plausibility;
  return { path: mode === "chat" ? "v1/chat/completions" : "v1/completions", body };
}
