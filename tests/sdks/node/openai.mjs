// The official openai SDK for Node.

import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { PIXEL, SAW, WEATHER, left, place, raises, run, seen } from './harness.mjs';

const ASK = [{ role: 'user', content: 'two and two?' }];
const BOTH = [{ role: 'user', content: 'the weather in both' }];
const TOOL = { type: 'function', function: { name: 'weather', parameters: WEATHER } };
const Answer = z.object({ value: z.number() });

const sdk = (key = place.key, maxRetries = 0) =>
  new OpenAI({ baseURL: `${place.url}/v1`, apiKey: key, maxRetries, timeout: 30_000 });
const chat = (fields, client = sdk()) =>
  client.chat.completions.create({ model: 'able', messages: ASK, ...fields });
const text = async (stream) => {
  let said = '';
  for await (const chunk of stream) said += chunk.choices[0]?.delta?.content ?? '';
  return said;
};

async function limited() {
  const client = sdk(place.narrow);
  for (let i = 0; i < 2; i++) await chat({}, client).catch(() => null);
  return client;
}

const cells = {
  async chat() {
    const reply = await chat({ seed: 7, unknown_field: { kept: true } });
    assert.equal(reply.choices[0].message.content, 'it is four');
    assert.equal(reply.usage.prompt_tokens_details.cached_tokens, 2);
    const sent = (await seen('able')).body;
    assert.deepEqual([sent.seed, sent.unknown_field], [7, { kept: true }]);
    const old = await sdk().completions.create({ model: 'able', prompt: 'two and two?' });
    assert.equal(old.choices[0].text, 'it is four');
  },

  async auto() {
    for (const model of ['auto', 'auto-best']) {
      const { data, response } = await chat({ model }).withResponse();
      assert.equal(response.headers.get('x-router-model'), 'able');
      assert.ok(Number(response.headers.get('x-router-cost-usd')) > 0);
      assert.ok(data._request_id);
    }
  },

  async stream() {
    assert.equal(await text(await chat({ stream: true })), 'it is four');
  },

  async 'stream usage'() {
    const chunks = [];
    for await (const chunk of await chat({ stream: true, stream_options: { include_usage: true } }))
      chunks.push(chunk);
    const last = chunks.at(-1);
    assert.deepEqual([last.choices, last.usage.prompt_tokens, last.usage.completion_tokens], [[], 10, 5]);
    assert.ok(last.usage.cost_usd > 0);
  },

  async tools() {
    const reply = await chat({ model: 'auto', tools: [TOOL] });
    const [call] = reply.choices[0].message.tool_calls;
    assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Paris' });
    const result = { role: 'tool', tool_call_id: call.id, content: 'sun' };
    const again = await chat({ messages: [...ASK, reply.choices[0].message, result], tools: [TOOL] });
    assert.equal(again.choices[0].message.content, 'the tools said sun');
    const runner = sdk().chat.completions.runTools({
      model: 'able',
      messages: ASK,
      tools: [{ type: 'function', function: { ...TOOL.function, parse: JSON.parse, function: ({ city }) => city } }],
    });
    assert.equal(await runner.finalContent(), 'the tools said Paris');
  },

  async 'parallel tools'() {
    const calls = async (fields) => {
      const reply = await chat({ messages: BOTH, tools: [TOOL], ...fields });
      return reply.choices[0].message.tool_calls.map((call) => call.function.arguments);
    };
    assert.deepEqual(await calls({}), ['{"city":"Paris"}', '{"city":"Oslo"}']);
    assert.deepEqual(await calls({ parallel_tool_calls: false }), ['{"city":"Paris"}']);
  },

  async 'tools in a stream'() {
    const stream = sdk().chat.completions.stream({ model: 'able', messages: BOTH, tools: [TOOL] });
    const final = await stream.finalChatCompletion();
    const calls = final.choices[0].message.tool_calls.map((call) => [call.id, call.function.arguments]);
    assert.deepEqual(calls, [
      ['call_0', '{"city":"Paris"}'],
      ['call_1', '{"city":"Oslo"}'],
    ]);
  },

  async schema() {
    const shape = zodResponseFormat(Answer, 'answer');
    const reply = await sdk().chat.completions.parse({ model: 'auto', messages: ASK, response_format: shape });
    assert.deepEqual(reply.choices[0].message.parsed, { value: 4 });
  },

  async vision() {
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL}` } };
    const content = [{ type: 'text', text: 'what is this?' }, image];
    const reply = await chat({ model: 'auto', messages: [{ role: 'user', content }] });
    assert.equal(reply.choices[0].message.content, SAW);
  },

  async embeddings() {
    const reply = await sdk().embeddings.create({ model: 'auto', input: ['a', 'b'], dimensions: 2 });
    assert.deepEqual(reply.data.map((row) => row.embedding), [[0.5, -0.25], [0.5, -0.25]]);
  },

  async models() {
    const names = [];
    for await (const model of sdk().models.list()) names.push(model.id);
    assert.deepEqual(names.slice(0, 3), ['auto', 'auto-best', 'able']);
    assert.equal((await sdk().models.retrieve('able')).id, 'able');
  },

  async responses() {
    const client = sdk();
    const whole = await client.responses.create({ model: 'auto', input: 'two and two?', instructions: 'be brief' });
    assert.deepEqual([whole.output_text, whole.status, whole.usage.input_tokens], ['it is four', 'completed', 10]);
    const stream = client.responses.stream({ model: 'able', input: 'two and two?' });
    let said = '';
    stream.on('response.output_text.delta', (event) => (said += event.delta));
    assert.equal((await stream.finalResponse()).output_text, 'it is four');
    assert.equal(said, 'it is four');
    const tools = [{ type: 'function', name: 'weather', parameters: WEATHER, strict: false }];
    const asked = await client.responses.create({ model: 'auto', input: 'both', tools });
    const results = asked.output.map((call) => ({
      type: 'function_call_output',
      call_id: call.call_id,
      output: 'sun',
    }));
    const input = [{ role: 'user', content: 'both' }, ...asked.output, ...results];
    const again = await client.responses.create({ model: 'able', input, tools });
    assert.equal(again.output_text, 'the tools said sun and sun');
    const format = zodTextFormat(Answer, 'answer');
    const parsed = await client.responses.parse({ model: 'auto', input: '2?', text: { format } });
    assert.deepEqual(parsed.output_parsed, { value: 4 });
    const cut = await client.responses.create({ model: 'cut', input: 'a', stream: true });
    const reading = async () => {
      for await (const event of cut) assert.notEqual(event.type, 'response.completed');
    };
    await raises(OpenAI.APIError, reading());
  },

  async 400() {
    const facts = { param: 'temperature', code: 'invalid_value', status: 400 };
    await raises(OpenAI.BadRequestError, chat({ model: 'refuses', temperature: 9 }), facts);
    await raises(OpenAI.BadRequestError, chat({ messages: [] }), { param: 'messages' });
  },

  async 401() {
    await raises(OpenAI.AuthenticationError, chat({}, sdk('sk-v0-wrong')), { code: 'invalid_api_key' });
  },

  async 404() {
    await raises(OpenAI.NotFoundError, chat({ model: 'none' }), { code: 'model_not_found', param: 'model' });
  },

  async 429() {
    const client = await limited();
    const error = await raises(OpenAI.RateLimitError, chat({}, client), { code: 'rate_limit_exceeded' });
    assert.ok(Number(error.headers.get('retry-after')) > 0);
    await raises(OpenAI.RateLimitError, chat({ stream: true }, client));
  },

  async repeats() {
    const before = (await seen('limited')).calls;
    const began = performance.now();
    const reply = await chat({ model: 'limited' }, sdk(place.key, 2));
    assert.equal(reply.choices[0].message.content, 'it is four');
    assert.equal((await seen('limited')).calls - before, 2);
    assert.ok(performance.now() - began >= 1_000);
  },

  async cut() {
    let said = '';
    const reading = async () => {
      for await (const chunk of await chat({ model: 'cut', stream: true })) said += chunk.choices[0].delta.content;
    };
    await raises(OpenAI.APIError, reading());
    assert.equal(said, 'it is');
  },

  async abort() {
    const before = (await seen('slow')).left;
    const stream = await chat({ model: 'slow', stream: true });
    for await (const _ of stream) break; // which aborts it
    await left(before);
    const leaving = new AbortController();
    const whole = sdk().chat.completions.create({ model: 'slow', messages: ASK }, { signal: leaving.signal });
    setTimeout(() => leaving.abort(), 300);
    await raises(OpenAI.APIUserAbortError, whole);
    await left(before + 1);
  },
};

await run('openai (Node)', cells, { messages: 'another protocol' });
