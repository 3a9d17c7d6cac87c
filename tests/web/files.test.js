// Pages that commands write to files: they open without a server or a network, and everywhere.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { isAccessible, launch, open, picture } from "./browser.js";
import { proxytune } from "./server.js";

const LOOKS = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};
// Words that must stay words.
const HOSTILE = "<img src=x onerror=alert(1)> &amp; </script><script>alert(2)</script>";

let browser;
let folder;
before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "pages-"));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

const file = (name, text) => {
  const typed = path.join(folder, name);
  if (text !== undefined) writeFileSync(typed, text);
  return typed;
};

/** A task with a choice of two, and as many items as decide something. */
function evaluated() {
  const task = `metric = "multiple_choice"
description = ${JSON.stringify(HOSTILE)}
prompt = "{{text}}"
choices = "choices"
answer = "gold"
`;
  const texts = ["Once upon a time there was a little", "The dog was very", "Tom and his mom went to the"];
  const items = Array.from({ length: 24 }, (_, i) => {
    const [text, choices] = [
      texts[i % 3],
      [
        ["king", "girl"],
        ["grave", "happy"],
        ["park", "war"],
      ][i % 3],
    ];
    return JSON.stringify({ text: i % 2 ? text : `${i}. ${text}`, choices, gold: 0 });
  });
  const data = ["--data", file("items.jsonl", items.join("\n"))];
  const page = file("eval.html");
  const args = ["-R", "demo", "-t", "1", "--alpha", "0.5,1", "--html", page, "--json"];
  const object = JSON.parse(proxytune("eval", file("choice.toml", task), ...data, ...args));
  return { page, object };
}

async function shown(t, name, look) {
  const { page } = await open(t, browser, pathToFileURL(name).href, LOOKS[look]);
  assert.equal(
    await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth),
    true,
    `${look}: nothing sticks out`,
  );
  await isAccessible(page, look);
  return page;
}

test("what `eval` writes has every figure, a verdict and plots", async (t) => {
  const { page: name, object } = evaluated();
  assert.doesNotMatch(readFileSync(name, "utf8"), /<script|https?:\/\/(?!www\.w3\.org)/, "it asks for nothing");
  for (const look of Object.keys(LOOKS)) {
    const page = await shown(t, name, look);
    await picture(page, `eval-${look}`, { fullPage: true });
    const body = await page.textContent("body");
    assert.ok(body.includes(HOSTILE), "a description is text");
    const rows = await page.locator("tbody tr").count();
    assert.equal(rows, object.results.length);
    for (const { contender, scores } of object.results) {
      const row = await page.locator("tbody tr", {
        has: page.getByRole("rowheader", { name: contender, exact: true }),
      });
      assert.ok((await row.textContent()).includes(`${(scores.acc.mean * 100).toFixed(1)} %`), contender);
    }
    assert.ok((await page.locator("figure svg").count()) >= 1);
    const labels = await page.locator("figure svg").first().locator("text").allTextContents();
    for (const { contender } of object.results) assert.ok(labels.includes(contender), `${contender} in ${labels}`);
    const widths = await page.locator("figure svg").evaluateAll((all) => all.map((svg) => svg.getBoundingClientRect()));
    for (const { width, height } of widths) assert.ok(width > 250 && height > 80, `${width} × ${height}`);
    assert.ok((await page.locator(".verdict").count()) >= 4);
  }
});

test("colours of plots are those of the page", async (t) => {
  const name = file("eval.html");
  const colours = async (look) => {
    const page = await shown(t, name, look);
    return page
      .locator("figure svg")
      .first()
      .evaluate((svg) => {
        const [line, text] = [svg.querySelector("g line[stroke='var(--ink)']"), svg.querySelector("text")];
        return [getComputedStyle(line).stroke, getComputedStyle(text).fill, getComputedStyle(document.body).color];
      });
  };
  const [light, dark] = [await colours("light"), await colours("dark")];
  for (const [line, text, ink] of [light, dark]) assert.deepEqual([line, text], [ink, ink]);
  assert.notDeepEqual(light, dark);
});

test("what `inspect` writes is looked through by pointer, touch and keyboard", async (t) => {
  const name = file("inspect.html");
  const prompt = ["-p", `The king said ${HOSTILE} and`, "-n", "40", "-s", "3"];
  const object = JSON.parse(
    proxytune("inspect", "-R", "demo", "-t", "1", ...prompt, "--html", name, "--json", "--tokens"),
  );
  for (const look of Object.keys(LOOKS)) {
    const page = await shown(t, name, look);
    assert.equal(await page.locator(".t").count(), object.tokens.length);
    assert.ok((await page.textContent(".prompt")).includes(HOSTILE));
    const token = page.locator(".t").nth(3);
    if (look === "phone") await token.tap();
    else await token.hover();
    await page.waitForSelector("#panel:not([hidden])");
    const percent = await page.textContent("#panel");
    for (const role of ["base", "expert", "antiexpert", "steered"]) assert.ok(percent.includes(role), percent);
    await picture(page, `inspect-${look}`, { fullPage: true });
    await isAccessible(page, `${look}, with the panel`);
    // By influence, the strongest first.
    await page.locator("#list [data-sort=kl]").click();
    const shownKl = await page.locator("#list tbody tr td:last-child").allTextContents();
    const kl = shownKl.map((text) => Number.parseFloat(text.replace("−", "-")));
    const sorted = kl.toSorted((a, b) => b - a);
    assert.deepEqual(kl, kl[0] >= kl.at(-1) ? sorted : sorted.toReversed(), "sorted by influence");
  }
});

test("with the keyboard, arrows lead from token to token", async (t) => {
  const page = await shown(t, file("inspect.html"), "light");
  for (let i = 0; i < 9 && !(await page.evaluate(() => document.activeElement.matches(".t"))); i += 1) {
    await page.keyboard.press("Tab");
  }
  const at = () => page.evaluate(() => document.activeElement.dataset.i);
  const before = await at();
  await page.keyboard.press("ArrowRight");
  assert.notEqual(await at(), before);
});
