// Clients from npm against the server at PROXYTUNE_URL.

const assert = require("node:assert/strict");
const test = require("node:test");

const { Anthropic } = require("@anthropic-ai/sdk");
const { Ollama } = require("ollama");
const { OpenAI } = require("openai");

const url = process.env.PROXYTUNE_URL;
const messages = [{ role: "user", content: "Once upon a time there was a little girl" }];

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

test("openai: chat, whole and in a stream", async () => {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
  const asked = { model: "demo", messages, max_tokens: 16 };
  const whole = await client.chat.completions.create({ ...asked, logprobs: true, top_logprobs: 2 });
  assert.equal(whole.usage.completion_tokens, 16);
  assert.equal(whole.choices[0].logprobs.content.length, 16);
  const chunks = await all(await client.chat.completions.create({ ...asked, stream: true }));
  const text = chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");
  assert.equal(text, whole.choices[0].message.content);
  const gathered = await client.chat.completions.stream(asked).finalChatCompletion();
  assert.equal(gathered.choices[0].message.content, text);
});

test("openai: responses", async () => {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
  const asked = { model: "demo", input: messages[0].content, max_output_tokens: 16 };
  const whole = await client.responses.create(asked);
  const events = await all(await client.responses.create({ ...asked, stream: true }));
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.equal(deltas.map((event) => event.delta).join(""), whole.output_text);
});

test("openai: errors and an abort", async () => {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
  await assert.rejects(client.chat.completions.create({ model: "none", messages }), OpenAI.NotFoundError);
  const stream = await client.chat.completions.create({ model: "demo", messages, stream: true, ignore_eos: true });
  for await (const chunk of stream) {
    assert.equal(chunk.object, "chat.completion.chunk");
    break;
  }
  stream.controller.abort();
});

test("anthropic: messages, whole and in a stream", async () => {
  const client = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });
  const asked = { model: "demo", max_tokens: 16, system: "Be brief.", messages };
  const whole = await client.messages.create(asked);
  const streamed = await client.messages.stream(asked).finalMessage();
  assert.deepEqual(
    streamed.content.map((block) => block.text),
    whole.content.map((block) => block.text),
  );
  assert.equal(streamed.stop_reason, "max_tokens");
  const { input_tokens } = await client.messages.countTokens({ model: "demo", system: "Be brief.", messages });
  assert.equal(input_tokens, whole.usage.input_tokens + whole.usage.cache_read_input_tokens);
  await assert.rejects(client.messages.create({ ...asked, model: "none" }), Anthropic.NotFoundError);
});

test("ollama: list, show and chat", async () => {
  const client = new Ollama({ host: url });
  const { models } = await client.list();
  assert.deepEqual(
    models.map((model) => model.name),
    ["demo:latest", "demo:base", "demo:expert"],
  );
  assert.ok((await client.show({ model: "demo" })).capabilities.includes("completion"));
  const asked = { model: "demo", messages, options: { num_predict: 16 } };
  const whole = await client.chat(asked);
  const parts = await all(await client.chat({ ...asked, stream: true }));
  assert.equal(parts.map((part) => part.message.content).join(""), whole.message.content);
  await assert.rejects(client.chat({ ...asked, model: "none" }), /no model/);
});
