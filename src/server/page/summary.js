// What steering did to an answer, in figures.

/** A token that is this much more probable, in nats summed over an answer, is worth naming. */
const LEAST_GAIN = 0.1;

/**
 * Where steering changed the top token, and which of the tokens that were written it promoted most: those whose
 * log-probabilities it raised most over the whole answer. A factor is the mean of an answer's places, geometrically.
 */
export function summarise(tokens, nPromoted = 5) {
  const seen = new Map();
  let nChanged = 0;
  let divergence = 0;
  for (const token of tokens) {
    nChanged += token.changed ? 1 : 0;
    divergence += token.divergence ?? 0;
    if (typeof token.steered !== "number" || typeof token.base !== "number") continue;
    const gain = token.steered - token.base;
    const entry = seen.get(token.id) ?? { token: token.token, gain: 0, n: 0 };
    entry.gain += gain;
    entry.n += 1;
    seen.set(token.id, entry);
  }
  const promoted = [...seen.values()]
    .filter(({ gain }) => gain >= LEAST_GAIN)
    .sort((a, b) => b.gain - a.gain)
    .slice(0, nPromoted)
    .map(({ token, gain, n }) => ({ token, n, factor: Math.exp(gain / n) }));
  return { n: tokens.length, nChanged, divergence: tokens.length ? divergence / tokens.length : 0, promoted };
}

/** Where the top token changed, the strongest first: from which to which, and what was written. */
export function changedMost(tokens, n = 20) {
  return tokens
    .flatMap(({ changed, base_top: base, top, token, divergence }, position) =>
      changed ? [{ position, from: base.token, to: top?.[0]?.token ?? token, token, divergence: divergence ?? 0 }] : [],
    )
    .sort((a, b) => b.divergence - a.divergence)
    .slice(0, n);
}

/** How strongly a token is shaded, from 0 to 4, by its divergence in nats. */
export function shade(divergence) {
  return [0.05, 0.25, 0.8, 2].filter((bound) => (divergence ?? 0) >= bound).length;
}
