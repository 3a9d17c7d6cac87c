// One model's answer to one prompt, as plain data that can be kept: it grows by the chunks of a stream.
//
// `weights` are those of the recipe in words, where they are more than an α.
// `tokens` are `proxy.tokens` of the replies; the first `n_begun` of them were there before the request, which began behind
// them. `changes` are `{position, alphas}`: the schedule of every pair that held from a position on.

/** An answer of which nothing has come yet. */
export function empty({ model, path, body, begun = [], text = "", changes = [], weights = null }) {
  const tokens = [...begun];
  return { model, path, body, tokens, n_begun: tokens.length, text, changes, weights, state: "waiting", notes: [] };
}

/** Takes a chunk of `/v1/chat/completions` or `/v1/completions`. */
export function grow(answer, chunk) {
  if (chunk.error) return fail(answer, chunk.error);
  answer.id ??= chunk.id;
  answer.timings = chunk.timings ?? answer.timings;
  const choice = chunk.choices?.[0];
  if (!choice) return;
  answer.state = "writing";
  answer.text += choice.delta?.content ?? choice.text ?? "";
  const { tokens = [], position, alpha } = choice.proxy ?? {};
  answer.tokens.push(...tokens);
  if (position !== undefined) {
    // What was set twice before a token came held for none.
    answer.changes = [
      ...answer.changes.filter((change) => change.position < position),
      { position, alphas: alpha.map(String) },
    ];
  }
  if (choice.notes) answer.notes = choice.notes;
  if (choice.finish_reason) {
    answer.finish = choice.finish_reason;
    answer.state = "done";
  }
}

/** It ended with an error; what was written stays. */
export function fail(answer, { message, type }) {
  answer.state = "failed";
  answer.error = { message, type };
}

export const isRunning = ({ state }) => state === "waiting" || state === "writing";

/** It ended before it had as many tokens as it might: nothing more fits into the context. */
export const isFull = ({ finish, body, tokens, n_begun }) =>
  finish === "length" && !(body.max_tokens > 0 && tokens.length - n_begun >= body.max_tokens);

/** Whether there is something to go on from: it has had its tokens, was stopped, or failed. */
export const canContinue = (answer) =>
  !isRunning(answer) && answer.tokens.length > 0 && answer.finish !== "stop" && !isFull(answer);

/** The tokens before a position, and another candidate at it. */
export function turned(answer, position, candidate) {
  const here = answer.tokens[position];
  const { id, token, bytes, steered, base, pairs } = candidate;
  return [...answer.tokens.slice(0, position), { ...here, id, token, bytes, steered, base, pairs, isPicked: true }];
}
