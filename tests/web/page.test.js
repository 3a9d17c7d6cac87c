// The page of `proxytune serve` as a person uses it.

import assert from "node:assert/strict";
import { copyFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import { ask, haveEnded, isAccessible, isReady, keeps, launch, open, PICTURES, picture, set } from "./browser.js";
import { proxytune, ROOT, read, serve } from "./server.js";

const PROMPT = "One morning the boy went to the river and";

let browser;
let server;
before(async () => {
  [browser, server] = await Promise.all([launch(), serve("-np", "4")]);
});
after(async () => {
  await browser?.close();
  server?.stop();
});

const steered = (page) => page.locator(".cell[data-column='2'] .answer").last();
const textOf = (answer) =>
  answer
    .locator(".text .t:not(.end)")
    .allTextContents()
    .then((all) => all.join(""));
const setAlpha = (page, alpha) => page.fill(".head[data-column='2'] .alpha input[type=number]", String(alpha));

/** Answers go on for as long as they may, so that something can be done to them on the way. */
const goesOn = (page) =>
  page.route("**/v1/completions", (route) =>
    route.continue({ postData: JSON.stringify({ ...JSON.parse(route.request().postData()), ignore_eos: true }) }),
  );

async function ready(t, options = {}) {
  const tab = await open(t, browser, server.url, options);
  await isReady(tab.page);
  return tab;
}

test("three columns are written by one request each", async (t) => {
  const { page } = await ready(t);
  await picture(page, "start");
  await isAccessible(page, "at the start");
  assert.equal(await page.inputValue("#prompt"), PROMPT, "the recipe's example is there to be tried");
  const asked = [];
  page.on("request", (request) => request.method() === "POST" && asked.push(JSON.parse(request.postData())));
  await set(page, { seed: 3, max_tokens: 120 });
  await ask(page, PROMPT);
  assert.deepEqual(
    asked.map(({ model }) => model),
    ["demo:base", "demo:expert", "demo"],
  );
  assert.equal(await page.locator(".answer[data-state=done]").count(), 3);
  assert.match(
    await steered(page).locator(".summary").textContent(),
    /^Steering changed the top token at \d+ of \d+ positions/,
  );
  assert.match(
    await page.textContent("#status"),
    /base: \d+ tokens\. expert: \d+ tokens\. steered: \d+ tokens, steering changed/,
  );
  assert.ok((await page.locator(".t.k1, .t.k2, .t.k3, .t.k4").count()) > 10, "tokens are shaded");
  assert.ok((await page.locator(".t.changed").count()) > 3, "changed tokens are underlined");
  await picture(page, "answered");
  await isAccessible(page, "with answers");
  // What README shows.
  await steered(page).locator(".t.changed").nth(1).hover();
  await page.waitForSelector("#candidates:popover-open");
  await picture(page, "page");
  if (process.env.PROXYTUNE_WRITE_PICTURE) {
    copyFileSync(path.join(PICTURES, "page.png"), path.join(ROOT, "docs/page.png"));
  }
});

test("what the page shows is what `generate --n-probs` prints", async (t) => {
  const { page } = await ready(t);
  await set(page, { seed: 11, max_tokens: 40, temperature: 0.9 });
  await ask(page, PROMPT);
  const printed = JSON.parse(
    proxytune(
      "generate",
      "-R",
      "demo",
      "-p",
      PROMPT,
      "-s",
      "11",
      "-n",
      "40",
      "--temp",
      "0.9",
      "--n-probs",
      "8",
      "--json",
      "-t",
      "1",
    ),
  );
  assert.equal(await textOf(steered(page)), printed.text);
  const panel = page.locator("#candidates");
  const near = (shown, logprob) => {
    const share = 100 * Math.exp(logprob);
    const expected =
      share >= 99.95
        ? "100 %"
        : share >= 10
          ? `${share.toFixed(0)} %`
          : share >= 0.1
            ? `${share.toFixed(1)} %`
            : "< 0.1 %";
    assert.equal(shown, expected);
  };
  await steered(page).locator(".strip").focus();
  for (const [i, { id, piece, changed, top }] of printed.probs.entries()) {
    const span = steered(page).locator(`.t[data-i="${i}"]`);
    assert.equal(await span.evaluate((one) => one.classList.contains("changed")), changed);
    await span.click();
    const rows = await panel.locator("tbody tr").evaluateAll((all) =>
      all.map((row) => ({
        token: row.querySelector("button").textContent,
        written: row.className === "written",
        shown: [...row.querySelectorAll("td")].map((cell) => cell.textContent),
      })),
    );
    const named = (text) => text.replaceAll("\n", "⏎").replaceAll(" ", "␣");
    assert.ok(
      rows.some((row) => row.written && row.token === named(piece)),
      `${id} at ${i}`,
    );
    for (const candidate of top) {
      const row = rows.find(({ token }) => token === named(candidate.piece));
      assert.ok(row, `${candidate.piece} at ${i}`);
      for (const [k, name] of ["base", "expert", "antiexpert", "logprob"].entries())
        near(row.shown[k], candidate[name]);
    }
    await page.keyboard.press("Escape");
  }
});

test("α acts on the next token", async (t) => {
  const { page } = await ready(t);
  await set(page, { seed: 5, max_tokens: 700, temperature: 0.8 });
  await goesOn(page);
  await page.fill("#prompt", PROMPT);
  await page.click("#send");
  await page.waitForFunction(() => document.querySelectorAll(".cell[data-column='2'] .t").length > 5);
  for (const alpha of [0, 1.5]) {
    const [told] = await Promise.all([page.waitForResponse(/\/proxy\//), setAlpha(page, alpha)]);
    assert.equal(told.status(), 200);
    const n = await steered(page).locator(".t").count();
    await page.waitForFunction((n_) => document.querySelectorAll(".cell[data-column='2'] .t").length > n_ + 20, n);
  }
  await haveEnded(page);
  const { turns } = await keeps(page, (one) => one.turns[0].answers[2].variants[0].state === "done");
  const { changes, text } = turns[0].answers[2].variants[0];
  assert.deepEqual(
    changes.map(({ alphas }) => alphas),
    [["0.75"], ["0"], ["1.5"]],
  );
  const schedule = changes.map(({ position, alphas }) => `${alphas[0]}@${position}`).join(",");
  assert.match(await steered(page).locator(".meta").textContent(), new RegExp(`α ${schedule.replaceAll(".", "\\.")}`));
  await picture(page, "alpha-moved");
  const printed = proxytune(
    "generate",
    "-R",
    "demo",
    "-p",
    PROMPT,
    "-s",
    "5",
    "-n",
    "700",
    "--temp",
    "0.8",
    "--ignore-eos",
    "--alpha-schedule",
    schedule,
    "--json",
    "-t",
    "1",
  );
  assert.equal(text, JSON.parse(printed).text);
});

test("α is drawn along the answer", async (t) => {
  const { page } = await ready(t);
  await page.click(".head[data-column='2'] .alpha button[aria-expanded]");
  const box = await page.locator("svg.schedule").boundingBox();
  const at = (x, y) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(0.02, 0.2));
  await page.mouse.down();
  for (let i = 1; i <= 20; i += 1) await page.mouse.move(...at(0.02 + 0.022 * i, 0.2 + 0.027 * i));
  await page.mouse.up();
  const field = page.locator(".schedule-editor input");
  assert.match(await field.inputValue(), /^2\.\d+@0\.\.-0\.\d+@\d+$/);
  await picture(page, "schedule");
  await isAccessible(page, "with a schedule");
  await field.fill("2@0..0@");
  assert.match(await page.locator(".schedule-editor .error").textContent(), /expected a value with its position/);
  await field.fill("2@0..0@32");
  await page.locator("svg.schedule circle").last().focus();
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowRight");
  assert.equal(await field.inputValue(), "2@0..0.05@33");
  await set(page, { seed: 9, max_tokens: 48 });
  await ask(page, PROMPT);
  const printed = proxytune(
    "generate",
    "-R",
    "demo",
    "-p",
    PROMPT,
    "-s",
    "9",
    "-n",
    "48",
    "--alpha-schedule",
    "2@0..0.05@33",
    "--json",
    "-t",
    "1",
  );
  assert.equal(await textOf(steered(page)), JSON.parse(printed).text);
});

test("another candidate is picked, and the answer goes on from there", async (t) => {
  const { page } = await ready(t);
  await set(page, { seed: 4, max_tokens: 30 });
  await ask(page, PROMPT);
  const whole = await steered(page).locator(".t").allTextContents();
  const span = steered(page).locator('.t[data-i="5"]');
  await span.hover();
  await page.waitForSelector("#candidates:popover-open");
  assert.match(await page.textContent("#candidates .lead"), /^Token 6/);
  await picture(page, "candidates");
  await isAccessible(page, "with candidates");
  await span.click();
  const other = page.locator("#candidates tbody tr:not(.written) button").first();
  const picked = (await other.textContent()).replaceAll("␣", " ").replaceAll("⏎", "\n");
  await other.click();
  await haveEnded(page);
  const now = await steered(page).locator(".t").allTextContents();
  assert.deepEqual(now.slice(0, 6), [...whole.slice(0, 5), picked]);
  assert.ok(now.length > 6 && now.length <= 36, `${now.length} tokens`);
  assert.equal(await steered(page).locator(".picked").textContent(), picked);
  assert.match(await steered(page).locator(".variants").textContent(), /2 of 2/);
  await steered(page).locator(".variants button").first().click();
  assert.deepEqual(await steered(page).locator(".t").allTextContents(), whole);
});

test("an answer is stopped, kept, continued and answered anew", async (t) => {
  const { page } = await ready(t);
  await set(page, { seed: 2, max_tokens: 600, temperature: 0 });
  await goesOn(page);
  await page.fill("#prompt", PROMPT);
  await page.click("#send");
  await page.waitForFunction(() => document.querySelectorAll(".cell[data-column='2'] .t").length > 10);
  await page.keyboard.press("Escape");
  await haveEnded(page);
  const stopped = await textOf(steered(page));
  await keeps(page, (one) => one.turns[0].answers[2].variants[0].state === "stopped");
  await page.reload();
  await isReady(page);
  assert.equal(await textOf(steered(page)), stopped);
  assert.equal(await page.textContent(".prompt"), PROMPT);
  await steered(page).getByRole("button", { name: "Continue" }).click();
  await haveEnded(page);
  const printed = proxytune(
    "generate",
    "-R",
    "demo",
    "-p",
    PROMPT,
    "-n",
    "600",
    "--ignore-eos",
    "--temp",
    "0",
    "--json",
    "-t",
    "1",
  );
  const continued = await textOf(steered(page));
  assert.ok(continued.startsWith(stopped) && continued.length > stopped.length);
  assert.ok(
    JSON.parse(printed).text.startsWith(continued) || continued.startsWith(JSON.parse(printed).text),
    "greedy is greedy",
  );
  await steered(page).getByRole("button", { name: "Regenerate" }).click();
  await haveEnded(page);
  assert.match(await steered(page).locator(".variants").textContent(), /3 of 3/);
});

test("a chat has turns; an edited one is a conversation of its own", async (t) => {
  const { page } = await ready(t);
  await page.check("#mode [value=chat]");
  await set(page, { seed: 1, max_tokens: 16 });
  const asked = [];
  page.on("request", (request) => request.method() === "POST" && asked.push(JSON.parse(request.postData())));
  for (const message of ["Tell me a story.", "And then?"]) {
    await page.fill("#prompt", message);
    await page.keyboard.press("Enter");
    await haveEnded(page);
  }
  const last = asked.at(-1).messages;
  assert.deepEqual(
    last.map(({ role }) => role),
    ["user", "assistant", "user"],
  );
  assert.equal(last[1].content, await textOf(page.locator(".turn").first().locator(".cell[data-column='2'] .answer")));
  const before = page.url();
  await page.locator(".asked button").first().click();
  await page.fill(".asked textarea", "Tell me another one.");
  await page.locator(".asked .primary").click();
  await page.waitForFunction(() => document.querySelectorAll(".turn").length === 1);
  await haveEnded(page);
  assert.notEqual(page.url(), before);
  await page.goto("about:blank");
  await page.goto(before);
  await isReady(page);
  assert.equal(await page.locator(".turn").count(), 2, "the old one is as it was");
});

test("conversations are exported, deleted and imported", async (t) => {
  const { page } = await ready(t);
  await set(page, { seed: 1, max_tokens: 8 });
  await ask(page, "A tale of ⟨two⟩ cities");
  const text = await textOf(steered(page));
  await page.click("#open-library");
  await picture(page, "library");
  await isAccessible(page, "with conversations");
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("dialog li button:has-text('Export')")]);
  page.on("dialog", (dialog) => dialog.accept());
  await page.click("dialog li button:has-text('Delete')");
  await page.waitForSelector("text=There are none yet.");
  const input = page.locator("dialog input[type=file]");
  await input.setInputFiles({ name: "wrong.json", mimeType: "application/json", buffer: Buffer.from("{}") });
  await page.waitForSelector("dialog .error:has-text('expected \"format\"')");
  await input.setInputFiles({
    name: "right.json",
    mimeType: "application/json",
    buffer: readFileSync(await file.path()),
  });
  await page.click("dialog .title");
  assert.equal(await textOf(steered(page)), text);
});

test("a key is asked for, and kept for the tab", async (t) => {
  const locked = await serve("--api-key", "right horse");
  try {
    const { page, context } = await open(t, browser, locked.url, { allowed: [/401/] });
    await page.waitForSelector("dialog input[type=password]");
    await picture(page, "key");
    await isAccessible(page, "asked for a key");
    await page.fill("dialog input", "wrong");
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog .error:has-text('not one of this server')");
    await page.fill("dialog input", "right horse");
    await page.keyboard.press("Enter");
    await isReady(page);
    await set(page, { max_tokens: 4 });
    await ask(page, PROMPT);
    assert.equal(await page.locator(".answer[data-state=done]").count(), 3);
    await steered(page).locator("select").selectOption("curl");
    const shell = await page.textContent("dialog pre");
    assert.ok(shell.includes("$API_KEY") && !shell.includes("horse"));
    await page.keyboard.press("Escape");
    await page.reload();
    await isReady(page);
    const other = await context.newPage();
    await other.goto(locked.url);
    await other.waitForSelector("dialog input[type=password]");
  } finally {
    locked.stop();
  }
});

test("the engine is killed, and comes back", async (t) => {
  const fragile = await serve();
  try {
    const { page } = await open(t, browser, fragile.url, { allowed: [/503/] });
    await isReady(page);
    await set(page, { seed: 2, max_tokens: 800, temperature: 0 });
    await goesOn(page);
    await page.fill("#prompt", PROMPT);
    await page.click("#send");
    await page.waitForFunction(() => document.querySelectorAll(".cell[data-column='2'] .t").length > 5);
    process.kill(fragile.engine, "SIGKILL");
    await haveEnded(page);
    const failed = page.locator(".answer[data-state=failed]");
    assert.ok((await failed.count()) > 0);
    assert.match(await failed.last().locator(".error").textContent(), /engine/);
    await picture(page, "engine-killed");
    const broken = await textOf(steered(page));
    await page.waitForFunction(
      () => document.querySelector("#banner").hidden || document.querySelector("#banner").classList.contains("good"),
    );
    await steered(page).getByRole("button", { name: "Continue" }).click();
    await page.waitForFunction(
      (n) => document.querySelector(".cell[data-column='2'] .text").textContent.length > n,
      broken.length + 10,
    );
    await page.keyboard.press("Escape");
    await haveEnded(page);
    assert.ok((await textOf(steered(page))).startsWith(broken));
  } finally {
    fragile.stop();
  }
});

test("the server is gone, and the page says so", async (t) => {
  const mortal = await serve();
  const { page } = await open(t, browser, mortal.url, { allowed: [/ERR_CONNECTION|ERR_EMPTY|ERR_INCOMPLETE/] });
  await isReady(page);
  mortal.stop();
  await page.fill("#prompt", PROMPT);
  await page.click("#send");
  await page.waitForSelector("#banner:has-text('cannot be reached')");
  await picture(page, "server-gone");
  assert.equal(await page.locator(".answer[data-state=failed]").count(), 3);
});

test("a prefix stands in front of everything", async (t) => {
  const prefixed = await serve("--api-prefix", "/llm");
  try {
    const { page } = await open(t, browser, prefixed.url);
    await isReady(page);
    await set(page, { seed: 3, max_tokens: 4 });
    await ask(page, PROMPT);
    assert.equal(await page.locator(".answer[data-state=done]").count(), 3);
    assert.match(page.url(), /\/llm\/#/);
    await page.reload();
    await isReady(page);
    assert.equal(await page.locator(".answer[data-state=done]").count(), 3);
  } finally {
    prefixed.stop();
  }
});

test("a refused request shows the server's words", async (t) => {
  const { page } = await ready(t, { allowed: [/400/] });
  await set(page, { grammar: "root ::= missing" });
  await ask(page, PROMPT);
  assert.match(await steered(page).locator(".error").textContent(), /the grammar is not valid/);
  await picture(page, "refused");
});

test("the keyboard is enough", async (t) => {
  const { page } = await ready(t);
  const press = (...keys) =>
    keys.reduce((before_, one) => before_.then(() => page.keyboard.press(one)), Promise.resolve());
  await set(page, { seed: 4, max_tokens: 24 });
  await page.focus("#prompt");
  await press("Control+a");
  await page.keyboard.type(PROMPT);
  await press("Control+Enter");
  await haveEnded(page);
  // From the prompt back to the last answer's strip.
  for (let i = 0; i < 60; i += 1) {
    await press("Shift+Tab");
    if (await page.evaluate(() => document.activeElement.matches(".cell[data-column='2'] .strip"))) break;
  }
  const strip = steered(page).locator(".strip");
  assert.ok(await strip.evaluate((one) => one === document.activeElement), "the strip is reached");
  await press("Home", "ArrowRight", "ArrowRight");
  assert.equal(await strip.getAttribute("aria-valuenow"), "3");
  assert.match(await strip.getAttribute("aria-valuetext"), /^Token 3: steering/);
  await press("PageDown");
  const at = Number(await strip.getAttribute("aria-valuenow"));
  assert.ok(
    await steered(page)
      .locator(`.t[data-i="${at - 1}"]`)
      .evaluate((one) => one.classList.contains("changed")),
  );
  await page.waitForSelector("#candidates:popover-open");
  await press("Enter");
  assert.ok(await page.evaluate(() => document.activeElement.matches("#candidates button.candidate")));
  await press("Escape");
  assert.ok(await strip.evaluate((one) => one === document.activeElement), "Escape leads back");
  await press("Enter", "ArrowDown", "Enter");
  await page.waitForSelector(".variants");
  await haveEnded(page);
  assert.match(await steered(page).locator(".variants").textContent(), /2 of 2/);
  const focused = steered(page).locator(".strip");
  assert.ok(
    await focused.evaluate((one) => one === document.activeElement),
    "the keyboard stays where a token was picked",
  );
  assert.equal(Number(await focused.getAttribute("aria-valuenow")), at);
});

test("a phone shows one column at a time", async (t) => {
  const { page } = await ready(t, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  await set(page, { seed: 3, max_tokens: 60 });
  await ask(page, PROMPT);
  assert.equal(await page.locator(".cell:visible").count(), 1);
  assert.ok(await steered(page).isVisible());
  const isWide = () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.ok(!(await isWide()), "nothing is wider than the screen");
  await picture(page, "phone");
  await isAccessible(page, "on a phone");
  await steered(page).locator('.t[data-i="2"]').tap();
  await page.waitForSelector("#candidates:popover-open");
  await picture(page, "phone-candidates");
  await page.locator("#candidates .close").tap();
  await page.locator("#shown label").first().tap();
  assert.ok(await page.locator(".cell[data-column='0'] .answer").isVisible());
  await page.locator("#open-settings").tap();
  assert.ok(!(await isWide()), "nor are the settings");
  await picture(page, "phone-settings");
});

test("dark, with less motion", async (t) => {
  const { page } = await ready(t, { colorScheme: "dark", reducedMotion: "reduce" });
  await set(page, { seed: 3, max_tokens: 120 });
  await ask(page, PROMPT);
  await steered(page).locator(".t.changed").first().click();
  await picture(page, "dark");
  await isAccessible(page, "in the dark");
  await page.keyboard.press("Escape");
  await page.click("#open-settings");
  await picture(page, "dark-settings");
  await isAccessible(page, "with settings in the dark");
});

const HOSTILE = [
  "<script>document.title='stolen'</script>",
  "<img src=x onerror=\"document.title='stolen'\">",
  "</div></body>",
  "&lt;b&gt;&amp;",
  "javascript:alert(1)",
  "\u202egnp.exe\u202c",
  "\u2066\u2067nested\u2069\u2069",
  "\u001b[31mred\u001b]0;title\u0007",
  "\u0000\u0008\u007f",
  "W".repeat(900),
  "שלום עולם",
  "مرحبا بالعالم",
  "a\u0301".repeat(40),
  "\u{1f469}\u200d\u{1f4bb}",
  "{{7*7}}",
  "${7*7}",
  "'\"`\\",
  "\u2028\u2029\ufeff\u200b",
];

test("hostile text is text: a real model made to write it", async (t) => {
  const { page } = await ready(t);
  const output = HOSTILE.filter((text) => text.length < 200)
    .join("\n")
    .replaceAll("\u0000", "");
  const escaped = [...output]
    .map((character) => `\\U${character.codePointAt(0).toString(16).padStart(8, "0")}`)
    .join("");
  await set(page, { max_tokens: 900, grammar: `root ::= "${escaped}"` });
  await ask(page, PROMPT);
  const { turns } = await keeps(page, (one) => one.turns[0].answers[2].variants[0].state === "done");
  assert.equal(turns[0].answers[2].variants[0].text, output);
  await isHarmless(page);
  await picture(page, "hostile", { fullPage: true });
});

test("hostile text is text: 10,000 characters of it in a stream", async (t) => {
  const { page } = await ready(t);
  let output = "";
  while (output.length < 10_000) output += `${HOSTILE[Math.floor(output.length / 97) % HOSTILE.length]}\n`;
  await page.route("**/v1/completions", (route) =>
    route.fulfill({ contentType: "text/event-stream", body: streamed(output) }),
  );
  await ask(page, "<b>hostile</b>\u202e");
  assert.equal(await page.locator(".answer[data-state=done]").count(), 3);
  const { visible } = await import("../../src/server/page/text.js");
  assert.equal(await textOf(steered(page)), visible(output));
  await isHarmless(page);
  // Names of tokens in the panel and the summary are text too.
  for (const i of [0, 1, 40]) {
    await steered(page).locator(`.t[data-i="${i}"]`).dispatchEvent("click");
    await isHarmless(page);
    await page.keyboard.press("Escape");
  }
  await page.click("#open-library");
  await isHarmless(page);
});

/** A reply with a text in pieces, each explained. */
function streamed(text, size = 7) {
  const bytes = Buffer.from(text);
  const frames = [];
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  for (let i = 0; i < bytes.length; i += size) {
    const own = bytes.subarray(i, i + size);
    const piece = {
      id: i / size,
      token: own.toString(),
      bytes: [...own],
      steered: -0.5,
      base: -1.5,
      pairs: { 1: { expert: -0.2, antiexpert: -1 } },
    };
    const explained = { ...piece, top: [piece], base_top: piece, changed: i % 3 === 0, divergence: (i % 40) / 10 };
    frames.push({
      id: "cmpl-1",
      choices: [
        { index: 0, text: decoder.decode(own, { stream: true }), finish_reason: null, proxy: { tokens: [explained] } },
      ],
    });
  }
  frames.push({ id: "cmpl-1", choices: [{ index: 0, text: "", finish_reason: "length" }] });
  return `${frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join("")}data: [DONE]\n\n`;
}

async function isHarmless(page) {
  const found = await page.evaluate(() => ({
    title: document.title,
    scripts: document.scripts.length,
    foreign: document.querySelectorAll("img, iframe, object, embed, link:not([rel=icon], [rel=stylesheet])").length,
    isWide: document.documentElement.scrollWidth > innerWidth,
    hidden: /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/u.test(
      document.querySelector("#turns").textContent,
    ),
  }));
  assert.deepEqual(found, { title: "proxytune", scripts: 1, foreign: 0, isWide: false, hidden: false });
}

test("a long answer is drawn once, token by token", async (t) => {
  const { page } = await ready(t);
  const body = streamed("word ".repeat(2000), 5);
  await page.route("**/v1/completions", (route) => route.fulfill({ contentType: "text/event-stream", body }));
  await page.evaluate(() => {
    globalThis.nAdded = 0;
    new MutationObserver((changes) => {
      for (const { addedNodes, target } of changes)
        if (target.matches?.(".text")) globalThis.nAdded += addedNodes.length;
    }).observe(document.querySelector("#turns"), { childList: true, subtree: true });
  });
  await ask(page, PROMPT);
  assert.equal(await steered(page).locator(".t").count(), 2000);
  assert.equal(await page.evaluate(() => globalThis.nAdded), 3 * 2000);
  await picture(page, "long");
});

test("an α that cannot be is said to be, and not kept", async (t) => {
  const { page } = await ready(t);
  await set(page, { seed: 3, max_tokens: 8 });
  await setAlpha(page, 50);
  await page.waitForSelector(".alpha .error:has-text('expected a number from -10 to 10')");
  await page.keyboard.press("Tab");
  assert.equal(await page.inputValue(".alpha input[type=number]"), "0.75");
  await setAlpha(page, "");
  await page.keyboard.press("Tab");
  assert.equal(await page.inputValue(".alpha input[type=number]"), "0.75");
  await ask(page, PROMPT);
  assert.equal(await page.locator(".answer[data-state=done]").count(), 3);
  await page.click("#open-settings");
  await page.fill("dialog [name=temperature]", "-5");
  await page.waitForSelector("dialog .error:has-text('expected 0 or more')");
});

test("a column without a model keeps its place", async (t) => {
  const { page } = await ready(t);
  await set(page, { seed: 3, max_tokens: 30 });
  await ask(page, PROMPT);
  const text = await textOf(steered(page));
  const before = (await steered(page).boundingBox()).x;
  await page.locator(".head select").nth(1).selectOption("");
  assert.equal(await textOf(steered(page)), text);
  assert.ok((await steered(page).boundingBox()).x < before, "the others have its room");
  assert.ok(!(await page.locator(".cell[data-column='1'] .answer").isVisible()));
  await picture(page, "two-columns");
  await ask(page, PROMPT);
  assert.equal(await page.locator(".turn:last-child .answer").count(), 2);
});

test("what steering changed is listed, the strongest first", async (t) => {
  const { page } = await ready(t);
  await set(page, { seed: 3, max_tokens: 60 });
  await ask(page, PROMPT);
  await steered(page).locator("details summary").click();
  await steered(page).locator(".changes li").first().waitFor();
  const entries = await steered(page).locator(".changes li").allTextContents();
  const strengths = entries.map((entry) => Number(/KL\s([\d.]+)/.exec(entry)[1]));
  assert.ok(
    strengths.length > 3 && strengths.every((one, i) => i === 0 || one <= strengths[i - 1]),
    entries.join("; "),
  );
  assert.match(entries[0], /^Token \d+ “.+” → “.+”/);
  await picture(page, "changes");
  await isAccessible(page, "with a list of changes");
  await steered(page).locator(".changes button").first().click();
  await page.waitForSelector("#candidates.pinned:popover-open");
});

test("a request as curl is the same request", async (t) => {
  const { page } = await ready(t);
  await set(page, { seed: 6, max_tokens: 24 });
  await ask(page, 'It\'s "quoted" – and über');
  await steered(page).locator("select").selectOption("python");
  await picture(page, "python");
  const program = await page.textContent("dialog pre");
  read("python3", ["-c", "import ast, sys; ast.parse(sys.argv[1])", program]);
  await page.keyboard.press("Escape");
  await steered(page).locator("select").selectOption("curl");
  const shell = await page.textContent("dialog pre");
  const reply = JSON.parse(read("sh", ["-c", shell.replace(/^curl /, "curl -sS ")]));
  assert.equal(reply.choices[0].text, await textOf(steered(page)));
});
