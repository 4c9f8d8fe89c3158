// The official Anthropic SDK for Node, before models that speak OpenAI's chat.

import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
import { PIXEL, SAW, WEATHER, left, place, raises, run, seen } from './harness.mjs';

const ASK = [{ role: 'user', content: 'two and two?' }];
const BOTH = [{ role: 'user', content: 'the weather in both' }];
const TOOL = { name: 'weather', input_schema: WEATHER };
const CITIES = [{ city: 'Paris' }, { city: 'Oslo' }];

const sdk = (key = place.key, maxRetries = 0) =>
  new Anthropic({ baseURL: place.url, apiKey: key, maxRetries, timeout: 30_000 });
const body = (fields) => ({ model: 'able', max_tokens: 50, messages: ASK, ...fields });
const ask = (fields, client = sdk()) => client.messages.create(body(fields));

const cells = {
  async chat() {
    const reply = await ask({ system: 'be brief', stop_sequences: ['end'], metadata: { user_id: 'me' } });
    assert.deepEqual([reply.content[0].text, reply.stop_reason], ['it is four', 'end_turn']);
    assert.deepEqual([reply.usage.input_tokens, reply.usage.cache_read_input_tokens], [8, 2]);
    assert.deepEqual((await seen('able')).body.stop, ['end']);
  },

  async auto() {
    const { data, response } = await ask({ model: 'auto' }).withResponse();
    assert.equal(response.headers.get('x-router-model'), 'able');
    assert.ok(data._request_id);
  },

  async stream() {
    const stream = sdk().messages.stream(body({}));
    let said = '';
    stream.on('text', (text) => (said += text));
    assert.equal((await stream.finalMessage()).stop_reason, 'end_turn');
    assert.equal(said, 'it is four');
  },

  async 'stream usage'() {
    const { usage } = await sdk().messages.stream(body({})).finalMessage();
    assert.deepEqual([usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens], [8, 2, 5]);
  },

  async tools() {
    const reply = await ask({ model: 'auto', tools: [TOOL] });
    const [call] = reply.content;
    assert.deepEqual([call.name, call.input, reply.stop_reason], ['weather', { city: 'Paris' }, 'tool_use']);
    const result = { type: 'tool_result', tool_use_id: call.id, content: 'sun' };
    const messages = [...ASK, { role: 'assistant', content: reply.content }, { role: 'user', content: [result] }];
    assert.equal((await ask({ messages, tools: [TOOL] })).content[0].text, 'the tools said sun');
  },

  async 'parallel tools'() {
    const inputs = async (fields) =>
      (await ask({ messages: BOTH, tools: [TOOL], ...fields })).content.map((block) => block.input);
    assert.deepEqual(await inputs({}), CITIES);
    const tool_choice = { type: 'auto', disable_parallel_tool_use: true };
    assert.deepEqual(await inputs({ tool_choice }), CITIES.slice(0, 1));
  },

  async 'tools in a stream'() {
    const final = await sdk().messages.stream(body({ messages: BOTH, tools: [TOOL] })).finalMessage();
    assert.deepEqual(final.content.map((block) => block.input), CITIES);
    assert.equal(final.stop_reason, 'tool_use');
  },

  async schema() {
    const format = zodOutputFormat(z.object({ value: z.number() }));
    const reply = await sdk().messages.parse(body({ model: 'auto', output_config: { format } }));
    assert.deepEqual(reply.parsed_output, { value: 4 });
  },

  async vision() {
    const source = { type: 'base64', media_type: 'image/png', data: PIXEL };
    const content = [{ type: 'image', source }, { type: 'text', text: 'what is this?' }];
    const reply = await ask({ model: 'auto', messages: [{ role: 'user', content }] });
    assert.equal(reply.content[0].text, SAW);
  },

  async models() {
    const names = [];
    for await (const model of sdk().models.list()) names.push(model.id);
    assert.deepEqual(names.slice(0, 3), ['auto', 'auto-best', 'able']);
    assert.equal((await sdk().models.retrieve('able')).id, 'able');
  },

  async messages() {
    assert.equal((await sdk().messages.countTokens({ model: 'auto', messages: ASK })).input_tokens, 3);
    const reply = await ask({ model: 'auto', max_tokens: 2_000, thinking: { type: 'enabled', budget_tokens: 1_024 } });
    assert.equal(reply.content[0].text, 'it is four');
    await raises(Anthropic.BadRequestError, ask({ container: 'c' }));
  },

  async 400() {
    const error = await raises(Anthropic.BadRequestError, ask({ model: 'refuses' }), { status: 400 });
    assert.equal(error.error.error.message, 'temperature is too high');
    await raises(Anthropic.BadRequestError, ask({ messages: [] }));
  },

  async 401() {
    await raises(Anthropic.AuthenticationError, ask({}, sdk('sk-v0-wrong')));
  },

  async 404() {
    await raises(Anthropic.NotFoundError, ask({ model: 'none' }));
  },

  async 429() {
    const client = sdk(place.narrow);
    await ask({}, client);
    const error = await raises(Anthropic.RateLimitError, ask({}, client));
    assert.ok(Number(error.headers.get('retry-after')) > 0);
  },

  async repeats() {
    const before = (await seen('limited')).calls;
    const began = performance.now();
    assert.equal((await ask({ model: 'limited' }, sdk(place.key, 2))).content[0].text, 'it is four');
    assert.equal((await seen('limited')).calls - before, 2);
    assert.ok(performance.now() - began >= 1_000);
  },

  async cut() {
    let said = '';
    const stream = sdk().messages.stream(body({ model: 'cut' }));
    stream.on('text', (text) => (said += text));
    await raises(Anthropic.APIError, stream.finalMessage());
    assert.equal(said, 'it is');
  },

  async abort() {
    const before = (await seen('slow')).left;
    const stream = sdk().messages.stream(body({ model: 'slow' }));
    stream.once('text', () => stream.abort());
    await raises(Anthropic.APIUserAbortError, stream.done());
    await left(before);
    const leaving = new AbortController();
    const whole = sdk().messages.create(body({ model: 'slow' }), { signal: leaving.signal });
    setTimeout(() => leaving.abort(), 300);
    await raises(Anthropic.APIUserAbortError, whole);
    await left(before + 1);
  },
};

await run('anthropic (Node)', cells, { embeddings: 'not in this SDK', responses: 'another protocol' });
