// What can be set for a chain, by llama.cpp's names. Bounds are what the browser's fields keep to; the server has the last word.

/** `[heading, [name, step, explanation, [least, most]]…]`; a step of null is a text. */
export const GROUPS = [
  [
    "Length",
    [
      ["max_tokens", 1, "most tokens to write; -1 until the model ends or the context is full", [-1]],
      ["seed", 1, "the same for every column; -1 draws one for each answer"],
      ["stop", null, "strings that end the text, one a line"],
    ],
  ],
  [
    "Sampling",
    [
      ["temperature", 0.05, "0 always takes the most probable token", [0]],
      ["top_k", 1, "keep so many of the most probable tokens; 0 keeps all"],
      ["top_p", 0.01, "keep the most probable tokens up to this sum; 1 keeps all", [0, 1]],
      ["min_p", 0.01, "keep tokens at least so probable, relative to the top one", [0, 1]],
      ["typical_p", 0.01, "locally typical sampling; 1 is off", [0, 1]],
      ["top_n_sigma", 0.1, "keep logits within so many standard deviations of the top; -1 is off"],
      ["xtc_probability", 0.01, "how often top choices are left out; 0 is off", [0, 1]],
      ["xtc_threshold", 0.01, "what counts as a top choice", [0, 1]],
      ["dynatemp_range", 0.05, "how far the temperature follows the entropy; 0 is off", [0]],
      ["mirostat", 1, "0 is off, 1 Mirostat, 2 Mirostat 2.0", [0, 2]],
      ["mirostat_tau", 0.1, "target entropy of Mirostat"],
      ["mirostat_eta", 0.01, "learning rate of Mirostat"],
      ["samplers", null, "in order, with semicolons between; proxy is the steering stage"],
    ],
  ],
  [
    "Repetition",
    [
      ["repeat_penalty", 0.01, "1 is off", [0]],
      ["repeat_last_n", 1, "tokens that the penalties look back; -1 for all", [-1]],
      ["presence_penalty", 0.05, "0 is off"],
      ["frequency_penalty", 0.05, "0 is off"],
      ["dry_multiplier", 0.05, "0 is off", [0]],
      ["dry_base", 0.05, ""],
      ["dry_allowed_length", 1, ""],
    ],
  ],
  [
    "Steering",
    [
      [
        "plausibility",
        0.01,
        "keep tokens at least so many times as probable as the base's top token; 0 keeps all",
        [0, 1],
      ],
      ["guidance_scale", 0.1, "classifier-free guidance of models with a base; 1 is none"],
      ["negative_prompt", null, "what guidance leads away from"],
    ],
  ],
  [
    "Form",
    [
      ["json_schema", null, "a JSON schema that the answer keeps to"],
      ["regex", null, "a regular expression that matches the whole answer"],
      ["grammar", null, "a GBNF grammar that the answer keeps to"],
    ],
  ],
];

/** A field's text as a request has it; throws what is wrong with it. */
export function read(name, text) {
  switch (name) {
    case "stop":
      return text.split("\n").filter((line) => line !== "");
    case "samplers":
      return text
        .split(";")
        .map((sampler) => sampler.trim())
        .filter((sampler) => sampler !== "");
    case "json_schema":
      return JSON.parse(text);
    case "regex":
    case "grammar":
    case "negative_prompt":
      return text;
    default: {
      const value = Number(text);
      if (!Number.isFinite(value)) throw new Error(`“${text}” is no number`);
      return value;
    }
  }
}

/** A value as its field shows it. */
export function shown(name, value) {
  if (value === undefined || value === null) return "";
  if (name === "stop") return value.join("\n");
  if (name === "samplers") return value.join(";");
  if (name === "json_schema") return JSON.stringify(value, null, 2);
  return String(typeof value === "number" ? Math.round(value * 1e6) / 1e6 : value);
}
