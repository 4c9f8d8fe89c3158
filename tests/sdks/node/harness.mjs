// What the programs for Node have in common; harness.py is the same for Python, and has the list of cells.

import assert from 'node:assert/strict';

export const place = JSON.parse(process.env.PLACE);
export const PIXEL = process.env.PIXEL;
export const SAW = process.env.SAW;
export const WEATHER = JSON.parse(process.env.WEATHER);
const CELLS = JSON.parse(process.env.CELLS);
const PATIENCE_MS = 30_000;

// What the scripted provider has seen of a model.
export async function seen(model) {
  const all = await (await fetch(`${place.upstream}/seen`)).json();
  return all[model] ?? { calls: 0, left: 0, body: null };
}

// Wait until one client more than `before` has left the model `slow`.
export async function left(before) {
  const began = performance.now();
  while ((await seen('slow')).left <= before) {
    assert.ok(performance.now() - began < PATIENCE_MS, 'the upstream was not let go');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// Await a promise that must be rejected with a `kind` with these properties; returns the error.
export async function raises(kind, promise, facts = {}) {
  let result;
  try {
    result = await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `${error?.constructor?.name} was raised, not ${kind.name}: ${error}`);
    for (const [name, value] of Object.entries(facts)) assert.deepEqual(error[name], value, name);
    return error;
  }
  assert.fail(`${kind.name} was not raised, but ${JSON.stringify(result)?.slice(0, 200)} returned`);
}

// Run every cell; a line of JSON for each.
export async function run(column, cells, absent) {
  const missing = CELLS.filter((name) => !(name in cells) && !(name in absent));
  assert.deepEqual(missing, [], `${column} says nothing of these cells`);
  const tell = (cell, error, why = null) => console.log(JSON.stringify({ column, cell, error, absent: why }));
  for (const [name, cell] of Object.entries(cells)) {
    try {
      await cell();
      tell(name, null);
    } catch (error) {
      tell(name, String(error?.stack ?? error));
    }
  }
  for (const [name, why] of Object.entries(absent)) tell(name, null, why);
}
