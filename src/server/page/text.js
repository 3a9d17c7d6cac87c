// What tokens look like: bytes to text, text that hides nothing, probabilities.

/** Characters that would act on the text around them, or that nobody would see. Marks of direction that right-to-left text
 * needs, and joiners of emoji, stay. */
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/** The same text with pictures or names in place of hidden characters. */
export function visible(text) {
  return text.replace(HIDDEN, (character) => {
    const code = character.codePointAt(0);
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}

/** A token by itself, with its spaces and line breaks to be seen. What is spelled by nothing ends a text. */
export function named(token) {
  return visible(token.replaceAll("\n", "\u23ce").replaceAll("\t", "\u21e5")).replaceAll(" ", "\u2423") || "(end)";
}

/** The text of each token; a character that several tokens share belongs to its last one. */
export function spell(tokens) {
  const decoder = new Decoder();
  return tokens.map((token) => decoder.next(token));
}

/** Spells tokens as they come. */
export class Decoder {
  #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  next({ bytes, token }) {
    return bytes ? this.#utf8.decode(Uint8Array.from(bytes), { stream: true }) : token;
  }
}

/** A probability for a natural logarithm; nothing for a model that does not have the token. */
export const probability = (logprob) => (typeof logprob === "number" ? Math.exp(logprob) : 0);

/** In percent, short. */
export function percent(logprob) {
  if (typeof logprob !== "number") return "\u2013";
  const share = 100 * Math.exp(logprob);
  if (share >= 99.95) return "100 %";
  if (share >= 10) return `${share.toFixed(0)} %`;
  if (share >= 0.1) return `${share.toFixed(1)} %`;
  return "< 0.1 %";
}

/** How many times as probable, short. */
export function factor(ratio) {
  if (ratio >= 1000) return "over 1000 \u00d7";
  return `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(1)} \u00d7`;
}
