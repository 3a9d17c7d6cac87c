// What is said beside the answers: to everybody in a banner, to screen readers in a sentence when something has ended.

import { get } from "./api.js";
import { byId } from "./dom.js";

/** For screen readers; the same sentence twice is read twice. */
export function say(text) {
  const status = byId("status");
  status.textContent = status.textContent === text ? `${text}\u00a0` : text;
}

/** A line above everything, or none. */
export function banner(text, isGood = false) {
  const line = byId("banner");
  line.textContent = text;
  line.hidden = !text;
  line.classList.toggle("good", isGood);
}

/** A line that goes by itself. */
export function notice(text) {
  banner(text, true);
  setTimeout(() => byId("banner").textContent === text && banner(""), 6000);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let waiting = null;

/** Resolves when the engine is there. While it is not the banner says so; all that wait share one look a second. */
export function whenThere(why) {
  waiting ??= wait(why).finally(() => {
    waiting = null;
  });
  return waiting;
}

async function wait(why) {
  let hasWaited = false;
  for (;;) {
    try {
      await get("health");
      break;
    } catch (error) {
      if (!error.isAway) break;
      banner(`${hasWaited ? error.message : (why ?? error.message)} Waiting for it…`);
      hasWaited = true;
    }
    await pause(hasWaited ? 700 : 100);
  }
  if (!hasWaited) return banner("");
  notice("The server is ready.");
}
