// `proxytune serve` on a free port of this machine.

import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const TARGET = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target");
const PROGRAM = process.env.PROXYTUNE ?? path.join(TARGET, "debug/proxytune");

/** A generous bound for what takes a moment. */
export const PATIENCE = 60_000;

/** What a program prints. */
export const read = (program, args) =>
  execFileSync(program, args, { encoding: "utf8", maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "pipe"] });

/** What `proxytune` prints. */
export const proxytune = (...args) => read(PROGRAM, args);

/** Starts a server; `url` is where its page is. It ends with `stop`. */
export async function serve(...args) {
  const { PROXYTUNE_MODELS: _, ...env } = process.env;
  const child = spawn(PROGRAM, ["serve", "-R", "demo", "--port", "0", "-t", "1", ...args], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`it did not start: ${said}`)), PATIENCE);
    child.stderr.setEncoding("utf8").on("data", (text) => {
      said += text;
      const page = /see it steer: (\S+)/.exec(said);
      if (page && said.includes("ready: ")) {
        clearTimeout(timer);
        resolve(page[1]);
      }
    });
    child.on("exit", () => reject(new Error(`it ended: ${said}`)));
  });
  return {
    url,
    pid: child.pid,
    get said() {
      return said;
    },
    /** The process that has the models. */
    get engine() {
      const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8");
      const all = read("ps", ["-o", "pid=", "--ppid", String(child.pid)]).trim();
      return Number((all || children).trim().split(/\s+/)[0]);
    },
    stop: () => child.kill("SIGKILL"),
  };
}
