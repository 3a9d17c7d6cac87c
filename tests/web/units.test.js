// The parts of the page that need no browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as answers from "../../src/server/page/answer.js";
import { read, shown } from "../../src/server/page/parameters.js";
import { request } from "../../src/server/page/request.js";
import { along, at, drawn, format, parse } from "../../src/server/page/schedule.js";
import { curl, python } from "../../src/server/page/snippets.js";
import { exported, imported } from "../../src/server/page/store.js";
import { shade, summarise } from "../../src/server/page/summary.js";
import { factor, named, percent, spell, visible } from "../../src/server/page/text.js";
import { read as run } from "./server.js";

test("schedules are written and read as the server does", () => {
  for (const text of ["0.75", "-1", "1@0,0.5@64", "1@0..0.5@64", "1@0..0.5@64,0@65", "0@0,1@1..2@9"]) {
    assert.equal(format(parse(text)), text);
  }
  for (const wrong of ["", "x", "11", "1@1", "1@0,2@0", "1@0..", "1@0,2", "1@-1", "1@0@0"]) {
    assert.throws(() => parse(wrong), wrong);
  }
  const knots = parse("1@0..0.5@10,2@12");
  assert.deepEqual(
    [0, 5, 10, 11, 12, 99].map((i) => at(knots, i)),
    [1, 0.75, 0.5, 0.5, 2, 2],
  );
});

test("what was moved while a text was written is one schedule", () => {
  const moved = (...changes) => along(changes.map(([position, alpha]) => ({ position, alpha })));
  assert.equal(moved([0, "0.75"]), "0.75");
  assert.equal(moved([0, "0.75"], [17, "1.5"]), "0.75@0,1.5@17");
  assert.equal(moved([0, "0.75"], [17, "0.75"]), "0.75");
  assert.equal(moved([0, "0.75"], [17, "1.5"], [17, "0"]), "0.75@0,0@17");
  // Every position has the α of the schedule that held there.
  const cases = [
    [
      [0, "1@0..0@10"],
      [5, "2"],
    ],
    [
      [0, "1"],
      [4, "0@0..1@8"],
      [6, "0.5"],
    ],
    [
      [0, "1@0..0@10"],
      [1, "2@0..3@20,1@30"],
      [25, "0@0,1@26..2@40"],
    ],
  ];
  for (const changes of cases) {
    const whole = parse(moved(...changes));
    for (let i = 0; i < 50; i += 1) {
      const own = changes.findLast(([position]) => position <= i)[1];
      assert.ok(
        Math.abs(at(whole, i) - at(parse(own), i)) < 2e-3,
        `${JSON.stringify(changes)} at ${i}: ${format(whole)}`,
      );
    }
  }
});

test("a line drawn by hand replaces what it covers", () => {
  const points = Array.from({ length: 11 }, (_, i) => ({ position: 10 + i, alpha: 1 - i / 10 }));
  assert.equal(format(drawn(parse("2"), points)), "2@0,1@10..0@20");
  const inside = parse(format(drawn(parse("1@0..0@100"), points)));
  assert.equal(at(inside, 100), 0);
  const tooth = [0, 1, 2, 3, 4].map((position) => ({ position, alpha: position % 2 }));
  assert.deepEqual(
    drawn(parse("1"), tooth).map(({ alpha }) => alpha),
    [0, 1, 0, 1, 0],
  );
});

test("nothing hides in a text", () => {
  assert.equal(visible("a\u001b[31mb\u0000\u0007\r"), "a\u241b[31mb\u2400\u2407\u240d");
  assert.equal(visible("\u202eabc\u2066\u200b\u{e0041}"), "⟨U+202E⟩abc⟨U+2066⟩⟨U+200B⟩⟨U+E0041⟩");
  // Text that needs its marks has them: line breaks, right-to-left marks, joined emoji.
  for (const text of ["a\n\tb", "שלום\u200f!", "\u{1f469}\u200d\u{1f4bb}", "<script>&amp;"])
    assert.equal(visible(text), text);
  assert.equal(named(" saw\n"), "␣saw⏎");
  assert.equal(named(""), "(end)");
});

test("a character that tokens share belongs to the last of them", () => {
  const bytes = [...new TextEncoder().encode("a🙂é")];
  const tokens = [bytes.slice(0, 2), bytes.slice(2, 4), bytes.slice(4, 6), bytes.slice(6)].map((own) => ({
    bytes: own,
  }));
  assert.deepEqual(spell(tokens), ["a", "", "🙂", "é"]);
  assert.deepEqual(spell([{ bytes: [0xff] }, { bytes: [0x41] }]), ["\ufffd", "A"]);
});

test("probabilities are short", () => {
  assert.deepEqual([0, Math.log(0.42), Math.log(0.021), -20, null].map(percent), [
    "100 %",
    "42 %",
    "2.1 %",
    "< 0.1 %",
    "–",
  ]);
  assert.deepEqual([1.23, 86.4, 1e5].map(factor), ["1.2 ×", "86 ×", "over 1000 ×"]);
});

const token = (id, text, steered, base, more = {}) => ({
  id,
  token: text,
  bytes: [...new TextEncoder().encode(text)],
  steered,
  base,
  pairs: {},
  ...more,
});

test("a summary names what steering promoted", () => {
  const tokens = [
    token(1, " saw", -1, -3, { changed: true, divergence: 0.5 }),
    token(2, ".", -1, -1),
    token(1, " saw", -1, -2),
    token(3, "x", -5, -1),
  ];
  const { n, nChanged, promoted } = summarise(tokens);
  assert.deepEqual([n, nChanged, promoted.length], [4, 1, 1]);
  assert.ok(Math.abs(promoted[0].factor - Math.exp(1.5)) < 1e-9 && promoted[0].n === 2);
  assert.deepEqual([0, 0.1, 0.3, 1, 3, undefined].map(shade), [0, 1, 2, 3, 4, 0]);
});

test("an answer grows by the chunks of both dialects", () => {
  const chat = answers.empty({
    model: "demo",
    path: "v1/chat/completions",
    body: {},
    changes: [{ position: 0, alphas: ["1"] }],
  });
  answers.grow(chat, { id: "chatcmpl-1", choices: [{ delta: { role: "assistant", content: null } }] });
  answers.grow(chat, {
    id: "chatcmpl-1",
    choices: [{ delta: { content: " He" }, proxy: { tokens: [token(1, " He", -1, -1)] } }],
  });
  answers.grow(chat, { id: "chatcmpl-1", choices: [{ delta: {}, proxy: { position: 1, alpha: [0.5] } }] });
  answers.grow(chat, { id: "chatcmpl-1", choices: [{ delta: {}, proxy: { position: 1, alpha: [0.25] } }] });
  answers.grow(chat, { id: "chatcmpl-1", choices: [{ delta: {}, finish_reason: "length" }] });
  assert.deepEqual(
    [chat.id, chat.text, chat.tokens.length, chat.state, chat.finish],
    ["chatcmpl-1", " He", 1, "done", "length"],
  );
  assert.deepEqual(chat.changes, [
    { position: 0, alphas: ["1"] },
    { position: 1, alphas: ["0.25"] },
  ]);
  assert.ok(!answers.canContinue(chat), "the context is full");
  chat.body.max_tokens = 1;
  assert.ok(answers.canContinue(chat));
  const text = answers.empty({ model: "demo", path: "v1/completions", body: {} });
  answers.grow(text, { id: "cmpl-1", choices: [{ text: "a", proxy: { tokens: [token(1, "a", -1, -1)] } }] });
  answers.grow(text, { error: { message: "the engine ended", type: "server_error" } });
  assert.deepEqual([text.state, text.error.message, text.text], ["failed", "the engine ended", "a"]);
  const candidate = token(7, " saw", -2, -2);
  const turned = answers.turned(
    { tokens: [token(1, "a", -1, -1), token(2, "b", -1, -1, { top: [candidate] }), token(3, "c", -1, -1)] },
    1,
    candidate,
  );
  assert.deepEqual(
    turned.map(({ id }) => id),
    [1, 7],
  );
  assert.ok(turned[1].isPicked && turned[1].top.length === 1);
});

const conversation = {
  mode: "chat",
  system: "Be brief.",
  settings: { temperature: 0, plausibility: 0.1 },
  columns: [
    { model: "demo:base", alphas: {} },
    { model: "demo", alphas: { 1: "0.5@0,1@8" } },
  ],
  turns: [
    {
      prompt: "one",
      answers: [
        { variants: [{ text: "uno" }], at: 0 },
        { variants: [{ text: "eins" }, { text: "een" }], at: 1 },
      ],
    },
    { prompt: "two", answers: [null, null] },
  ],
};

test("every column asks with its own answers", () => {
  const { path, body } = request(conversation, 1, 1, 7, [token(5, "zw", -1, -1)]);
  assert.equal(path, "v1/chat/completions");
  assert.deepEqual(body, {
    model: "demo",
    stream: true,
    seed: 7,
    temperature: 0,
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "one" },
      { role: "assistant", content: "een" },
      { role: "user", content: "two" },
    ],
    proxy: { explain: 8, pairs: { 1: "0.5@0,1@8" }, begin: [5], plausibility: 0.1 },
  });
  const text = request({ ...conversation, mode: "text" }, 1, 0, 7);
  assert.deepEqual(
    [text.path, text.body.prompt, text.body.proxy],
    ["v1/completions", "two", { explain: 8, plausibility: 0.1 }],
  );
});

test("snippets hold what was asked, and no key", () => {
  const asked = {
    path: "v1/completions",
    body: {
      model: "demo",
      stream: true,
      prompt: 'it\'s\n"é"',
      seed: 1,
      min_p: 0.1,
      proxy: { explain: 8, pairs: { 1: 0.5 } },
    },
  };
  const shell = curl("http://127.0.0.1:1/", asked, true);
  assert.match(shell, /\$API_KEY/);
  assert.ok(!shell.includes("explain") && !shell.includes("stream"));
  // A shell takes it apart as it was put together.
  const body = run("sh", ["-c", shell.replace(/^curl /, "printf '%s\\n' ")])
    .trim()
    .split(" -d ")
    .at(-1)
    .split("\n")
    .slice(0);
  assert.deepEqual(JSON.parse(body.join("\n").slice(body.join("\n").indexOf("{"))), {
    model: "demo",
    prompt: 'it\'s\n"é"',
    seed: 1,
    min_p: 0.1,
    proxy: { pairs: { 1: 0.5 } },
  });
  const program = python("http://127.0.0.1:1/", asked, false);
  assert.match(program, /extra_body=\{\n {8}"min_p": 0\.1,\n {8}"proxy": \{/);
  run("python3", ["-c", "import ast, sys; ast.parse(sys.argv[1])", program]);
});

test("parameters are read as requests have them", () => {
  assert.deepEqual(read("stop", "a\n\nb"), ["a", "b"]);
  assert.deepEqual(read("samplers", "proxy; top_k;temperature"), ["proxy", "top_k", "temperature"]);
  assert.deepEqual([read("temperature", "0.5"), read("json_schema", '{"type": "object"}')], [0.5, { type: "object" }]);
  assert.throws(() => read("json_schema", "{"));
  assert.throws(() => read("top_k", "many"));
  assert.deepEqual(
    [shown("stop", ["a", "b"]), shown("top_p", 0.949999988), shown("seed", undefined)],
    ["a\nb", "0.95", ""],
  );
});

test("files that are no conversations are refused with what is wrong", () => {
  const whole = {
    ...conversation,
    id: "1",
    title: "t",
    turns: [
      { prompt: "p", answers: [null, { at: 0, variants: [answers.empty({ model: "demo", path: "", body: {} })] }] },
    ],
  };
  assert.deepEqual(imported(exported([whole])), [whole]);
  const refused = [
    ["{", /no JSON/],
    ["[]", /expected "format"/],
    [exported([{}]), /conversation 1: `id`/],
    [exported([{ ...whole, mode: "x" }]), /`mode`/],
    [exported([{ ...whole, turns: [{ prompt: "p", answers: [{ variants: [{}], at: 0 }] }] }]), /`turns`/],
    [exported([{ ...whole, columns: [1] }]), /`columns`/],
  ];
  for (const [text, why] of refused) assert.throws(() => imported(text), why);
});
