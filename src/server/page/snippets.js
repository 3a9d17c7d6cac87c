// A request as somebody would type it elsewhere.

/** What a program needs of a request: it is not asked to explain every token. */
function plain({ stream: _, proxy, ...body }) {
  const { explain: _explain, ...rest } = proxy ?? {};
  return Object.keys(rest).length ? { ...body, proxy: rest } : body;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A command for a POSIX shell. */
export function curl(base, { path, body }, needsKey) {
  const key = needsKey ? ` \\\n  -H "Authorization: Bearer $API_KEY"` : "";
  const json = JSON.stringify(plain(body), null, 2);
  return `curl ${quoted(`${base}${path}`)}${key} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(json)}\n`;
}

/** What openai-python names itself; everything else goes into `extra_body`. */
const NAMED = new Set(
  "model messages prompt seed temperature top_p max_tokens stop presence_penalty frequency_penalty".split(" "),
);

/** A program with openai-python. */
export function python(base, { path, body }, needsKey) {
  const isChat = path.endsWith("chat/completions");
  const fields = Object.entries(plain(body));
  const lines = fields.filter(([name]) => NAMED.has(name)).map(([name, value]) => `    ${name}=${literal(value, 1)},`);
  const other = fields.filter(([name]) => !NAMED.has(name));
  if (other.length) lines.push(`    extra_body=${literal(Object.fromEntries(other), 1)},`);
  return [
    ...(needsKey ? ["import os", ""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(`${base}v1`)}, api_key=${needsKey ? 'os.environ["API_KEY"]' : '"-"'})`,
    `answer = client.${isChat ? "chat.completions" : "completions"}.create(`,
    ...lines,
    ")",
    `print(answer.choices[0].${isChat ? "message.content" : "text"})`,
    "",
  ].join("\n");
}

/** A value as Python writes it. */
function literal(value, depth = 0) {
  const pad = "    ".repeat(depth + 1);
  const end = "    ".repeat(depth);
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  // A string of JSON is one of Python, but for surrogates by themselves, which neither can print.
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) {
    if (value.every((item) => typeof item !== "object")) return `[${value.map((item) => literal(item)).join(", ")}]`;
    return `[\n${value.map((item) => `${pad}${literal(item, depth + 1)},\n`).join("")}${end}]`;
  }
  const fields = Object.entries(value).map(
    ([name, item]) => `${pad}${JSON.stringify(name)}: ${literal(item, depth + 1)},\n`,
  );
  return fields.length ? `{\n${fields.join("")}${end}}` : "{}";
}
