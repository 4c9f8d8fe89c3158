// Vercel's AI SDK: the same cells through its three providers, which speak chat, responses and messages.

import assert from 'node:assert/strict';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, Output, embedMany, generateText, isStepCount, streamText, tool } from 'ai';
import { z } from 'zod';
import { PIXEL, SAW, left, place, raises, run, seen } from './harness.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;
const prompt = 'two and two?';
const SPOKEN_ELSEWHERE = 'another provider of this SDK';

const weather = (execute) =>
  tool({ description: 'tells the weather', inputSchema: z.object({ city: z.string() }), execute });

function cellsOf(provide) {
  const model = (name, key = place.key) => provide(key)(name);
  const ask = (fields, name = 'able', key = place.key) =>
    generateText({ model: model(name, key), prompt, maxRetries: 0, ...fields });
  const stream = (fields, name = 'able') =>
    streamText({ model: model(name), prompt, maxRetries: 0, onError() {}, ...fields });
  const inputs = (calls) => calls.map((call) => call.input.city);

  return {
    async chat() {
      const reply = await ask({ instructions: 'be brief', temperature: 0.5 });
      assert.deepEqual([reply.text, reply.finishReason], ['it is four', 'stop']);
      assert.deepEqual([reply.usage.inputTokens, reply.usage.outputTokens], [10, 5]);
      const sent = (await seen('able')).body;
      assert.deepEqual([sent.messages[0].role, sent.temperature], ['system', 0.5]);
    },

    async auto() {
      const reply = await ask({}, 'auto');
      assert.equal(reply.response.headers['x-router-model'], 'able');
    },

    async stream() {
      const reply = stream({});
      let said = '';
      for await (const word of reply.textStream) said += word;
      assert.deepEqual([said, await reply.finishReason], ['it is four', 'stop']);
    },

    async 'stream usage'() {
      const reply = stream({});
      await reply.consumeStream();
      const usage = await reply.usage;
      assert.deepEqual([usage.inputTokens, usage.outputTokens], [10, 5]);
    },

    async tools() {
      const tools = { weather: weather(async ({ city }) => `sun in ${city}`) };
      const reply = await ask({ tools, stopWhen: isStepCount(3) }, 'auto');
      assert.equal(reply.steps.length, 2);
      assert.match(reply.text, /the tools said .*sun in Paris/);
    },

    async 'parallel tools'() {
      const reply = await ask({ prompt: 'the weather in both', tools: { weather: weather() } });
      assert.deepEqual(inputs(reply.toolCalls), ['Paris', 'Oslo']);
    },

    async 'tools in a stream'() {
      const reply = stream({ prompt: 'the weather in both', tools: { weather: weather() } });
      await reply.consumeStream();
      assert.deepEqual(inputs(await reply.toolCalls), ['Paris', 'Oslo']);
    },

    async schema() {
      const output = Output.object({ schema: z.object({ value: z.number() }) });
      assert.deepEqual((await ask({ output }, 'auto')).output, { value: 4 });
    },

    async vision() {
      const content = [
        { type: 'text', text: 'what is this?' },
        { type: 'file', data: PIXEL, mediaType: 'image/png' },
      ];
      const reply = await ask({ prompt: undefined, messages: [{ role: 'user', content }] }, 'auto');
      assert.equal(reply.text, SAW);
    },

    async 400() {
      const error = await raises(APICallError, ask({ temperature: 0.9 }, 'refuses'), { statusCode: 400 });
      assert.equal(error.message, 'temperature is too high');
    },

    async 401() {
      await raises(APICallError, ask({}, 'able', 'sk-v0-wrong'), { statusCode: 401 });
    },

    async 404() {
      await raises(APICallError, ask({}, 'none'), { statusCode: 404 });
    },

    async 429() {
      await ask({}, 'able', place.narrow).catch(() => null);
      const error = await raises(APICallError, ask({}, 'able', place.narrow), { statusCode: 429, isRetryable: true });
      assert.ok(Number(error.responseHeaders['retry-after']) > 0);
    },

    async repeats() {
      const before = (await seen('limited')).calls;
      const began = performance.now();
      assert.equal((await ask({ maxRetries: 2 }, 'limited')).text, 'it is four');
      assert.equal((await seen('limited')).calls - before, 2);
      assert.ok(performance.now() - began >= 1_000);
    },

    async cut() {
      const errors = [];
      const reply = stream({ onError: ({ error }) => errors.push(error) }, 'cut');
      let said = '';
      for await (const word of reply.textStream) said += word;
      assert.equal(said, 'it is');
      assert.equal(errors.length, 1);
    },

    async abort() {
      const before = (await seen('slow')).left;
      const leaving = new AbortController();
      for await (const _ of stream({ abortSignal: leaving.signal }, 'slow').textStream) leaving.abort();
      await left(before);
      const whole = ask({ abortSignal: AbortSignal.timeout(300) }, 'slow');
      await raises(DOMException, whole);
      await left(before + 1);
    },
  };
}

const baseURL = `${place.url}/v1`;
const compatible = (apiKey) =>
  createOpenAICompatible({
    name: 'v0',
    baseURL,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
const openai = (apiKey) => createOpenAI({ baseURL, apiKey });
const anthropic = (apiKey) => createAnthropic({ baseURL, apiKey });

const embeddings = (provide) => async () => {
  const model = provide(place.key).embeddingModel('vectors');
  const reply = await embedMany({ model, values: ['a', 'b'] });
  assert.deepEqual(reply.embeddings, [[0.5, -0.25, 0.125], [0.5, -0.25, 0.125]]);
};
const absent = { models: 'not in this SDK' };
await run(
  'Vercel, openai-compatible',
  { ...cellsOf(compatible), embeddings: embeddings(compatible) },
  { ...absent, responses: SPOKEN_ELSEWHERE, messages: SPOKEN_ELSEWHERE },
);
const speaking = (cells) => async () => {
  for (const name of ['chat', 'stream', 'tools']) await cells[name]();
};
const responses = cellsOf(openai);
await run(
  'Vercel, openai',
  { ...responses, embeddings: embeddings(openai), responses: speaking(responses) },
  { ...absent, messages: SPOKEN_ELSEWHERE },
);
const messages = cellsOf(anthropic);
await run(
  'Vercel, anthropic',
  { ...messages, messages: speaking(messages) },
  { ...absent, responses: SPOKEN_ELSEWHERE, embeddings: 'not at Anthropic' },
);
