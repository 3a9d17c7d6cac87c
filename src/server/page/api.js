// The server: JSON, streams of events, errors in its own words.

const KEY = "proxytune-api-key";

/** For this tab only. */
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  drop: () => sessionStorage.removeItem(KEY),
};

/** Where the server's paths begin; it may have a prefix in front of them. */
export const base = document.baseURI;

/** Why a request failed. `status` is 0 where nobody answered. */
export class ApiError extends Error {
  constructor(message, status = 0, type = "") {
    super(message);
    Object.assign(this, { status, type });
  }

  get needsKey() {
    return this.status === 401;
  }

  /** The engine is not there, or nobody is: it may come back. */
  get isAway() {
    return this.status === 0 || this.status === 503;
  }
}

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  let response;
  try {
    response = await fetch(new URL(path, base), { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached.");
  }
  if (response.ok) return response;
  const { message, type } = (await response.json().catch(() => ({}))).error ?? {};
  throw new ApiError(message ?? `The server answered ${response.status}.`, response.status, type);
}

export const get = async (path) => (await call(path)).json();

const json = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

export const post = async (path, body) => (await call(path, json(body))).json();

/** The chunks of a stream, as they come. */
export async function* stream(path, body, signal) {
  const response = await call(path, { ...json(body), signal });
  let isWhole = false;
  try {
    for await (const data of events(response.body)) {
      isWhole ||= data === "[DONE]";
      if (!isWhole) {
        const chunk = JSON.parse(data);
        isWhole = Boolean(chunk.error);
        yield chunk;
      }
    }
  } catch (error) {
    if (error.name === "AbortError" || isWhole) throw error;
    throw new ApiError("The connection broke while the answer was written.");
  }
  if (!isWhole) throw new ApiError("The connection ended before the answer did.");
}

/** The data of server-sent events. */
export async function* events(bytes) {
  let rest = "";
  for await (const text of parts(bytes.pipeThrough(new TextDecoderStream()))) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

/** The parts of a stream; not every browser iterates over one. */
async function* parts(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
