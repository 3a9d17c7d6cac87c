// Headless Chromium with the page in it, and what every test of the page looks at.

import assert from "node:assert/strict";
import { accessSync, constants, mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

import { PATIENCE, ROOT, TARGET } from "./server.js";

// Where npm puts them: nothing is written among the sources.
const installed = createRequire(path.join(TARGET, "web/package.json"));
const { chromium } = installed("playwright-core");
const AXE = installed.resolve("axe-core/axe.min.js");
export const PICTURES = path.join(TARGET, "web/pictures");

function executable() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = process.env.PATH.split(":");
  for (const name of ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]) {
    for (const folder of folders) {
      try {
        accessSync(path.join(folder, name), constants.X_OK);
        return path.join(folder, name);
      } catch {}
    }
  }
  throw new Error("no Chromium is on the PATH; CHROMIUM names one");
}

export async function launch() {
  mkdirSync(PICTURES, { recursive: true });
  // Its sandbox is not to be had for root; what it is shown here is ours.
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: executable(), args });
}

/**
 * The page of a server in a tab of its own, until the test ends. `allowed`: errors of the console that belong to what is tried.
 * No other may have been logged then, and no request may have left the origin.
 */
export async function open(t, browser, url, { allowed = [], ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const faults = [];
  const watch = (page) => {
    page.on("console", (message) => {
      const text = message.text();
      if (["error", "warning"].includes(message.type()) && !allowed.some((one) => one.test(text))) faults.push(text);
    });
    page.on("pageerror", (error) => faults.push(error.stack));
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (origin !== new URL(url).origin && protocol !== "blob:") faults.push(`request to ${request.url()}`);
    });
  };
  const page = await context.newPage();
  watch(page);
  page.setDefaultTimeout(PATIENCE);
  if (process.env.PAGE_OF_TREE) await fromTree(page);
  await page.goto(url);
  t.after(async () => {
    await context.close();
    assert.deepEqual(faults, []);
  });
  return { page, context };
}

/** While the page is written: its files as they are in the tree, and not as they were built in. */
async function fromTree(page) {
  const types = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
  await page.route("**/page/*", async (route) => {
    const name = path.basename(new URL(route.request().url()).pathname);
    const body = await readFile(path.join(ROOT, "src/server/page", name), "utf8");
    return route.fulfill({ body, contentType: types[path.extname(name)] });
  });
}

export const isReady = (page) => page.waitForSelector("body[data-ready]", { state: "attached" });

/** Fails where axe finds something serious. */
export async function isAccessible(page, what) {
  // A policy keeps the page from adding scripts to itself; the debugger may.
  await page.evaluate(await readFile(AXE, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const told = serious.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}: ${nodes
        .map(({ html }) => html)
        .slice(0, 3)
        .join(" ")}`,
  );
  assert.deepEqual(told, [], what);
}

export const picture = (page, name, options = {}) =>
  page.screenshot({ path: path.join(PICTURES, `${name}.png`), ...options });

/** Asks, and waits for the end of every answer. */
export async function ask(page, prompt) {
  await page.fill("#prompt", prompt);
  await page.press("#prompt", "Control+Enter");
  await haveEnded(page);
}

export const haveEnded = (page) => page.waitForSelector("#stop[hidden]", { state: "attached" });

/** Sets fields of the settings. */
export async function set(page, values) {
  await page.click("#open-settings");
  for (const [name, value] of Object.entries(values)) await page.fill(`dialog [name="${name}"]`, String(value));
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached" });
}

/** The conversation as the page keeps it. */
export const kept = (page) =>
  page.evaluate(async () => {
    const { get } = await import(new URL("page/store.js", document.baseURI));
    return get(location.hash.slice(1));
  });

/** Waits until the kept conversation is so. */
export async function keeps(page, holds) {
  const ends = Date.now() + PATIENCE;
  for (;;) {
    const conversation = await kept(page);
    if (conversation && holds(conversation)) return conversation;
    assert.ok(Date.now() < ends, "it was never kept");
    await page.waitForTimeout(50);
  }
}
