/** @file What is seen of rows that go through a model together: as much as of each alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import { relativeError } from '../../../test/support/numbers.ts';
import { openModel } from '../../formats/open.ts';
import { readSpec } from '../architectures/index.ts';
import { Network } from '../model/network.ts';
import { readWeights } from '../model/weights.ts';
import { Random } from '../random.ts';
import { SessionCache } from '../segments/session.ts';
import { freezer } from './freeze.ts';
import { Observer, observedRows, OBSERVED_ROWS, OBSERVED_TOKENS } from './observe.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-observe-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const random = new Random(8);
const row = (length: number): Int32Array => Int32Array.from({ length }, () => random.int(256));

it('rows of several lengths, and of more tokens than go through at once, add up', async () => {
  const { config, weights: source, close } = await openModel(await writeTinyModel(join(folder, 'model')));
  const spec = readSpec(config);
  const weights = await readWeights(spec, source, freezer(spec, 'fp32', undefined, 1), false);
  const cache = new SessionCache({ device: 'cpu', threads: 1, precision: 'fp32' }, 1);
  const network = new Network(spec, { weights }, cache);
  const sums = async (rows: readonly Int32Array[]): Promise<Map<string, Float64Array>> => {
    const all = new Map<string, Float64Array>();
    const observer = await Observer.begin(network, rows);
    for (const [layer, own] of weights.layers.entries())
      await observer.pass(layer, own, 'moments', (projection, [seen]) => {
        const name = `${layer} ${projection}`;
        const sum = all.get(name) ?? new Float64Array(seen!.length);
        seen!.forEach((x, i) => (sum[i]! += x));
        all.set(name, sum);
      });
    observer.release();
    return all;
  };
  const rows = [...[96, 32, 64, 96].map(row), ...Array.from({ length: 6 }, () => row(128))];
  const together = await sums(rows);
  expect(together.size).toBe(spec.layers * spec.projections.length);
  const alone = new Map<string, Float64Array>();
  for (const each of rows)
    for (const [name, sum] of await sums([each])) {
      const known = alone.get(name);
      if (known) sum.forEach((x, i) => (known[i]! += x));
      else alone.set(name, sum);
    }
  for (const [name, sum] of together)
    expect(relativeError(Float32Array.from(sum), Float32Array.from(alone.get(name)!)), name).toBeLessThan(1e-5);
  await network.release();
  await cache.release();
  await close();
});

it('of the first examples only whole steps of tokens are looked at, of short ones again from their beginning', () => {
  const example = (length: number) => ({ ids: row(length), loss: new Uint8Array(length) });
  const rows = observedRows([
    example(20),
    example(100),
    example(1000),
    ...Array.from({ length: 20 }, () => example(40)),
  ]);
  expect(rows.map(({ length }) => length)).toEqual([32, 96, OBSERVED_TOKENS, ...Array(OBSERVED_ROWS - 3).fill(32)]);
  expect([...rows[0]!.subarray(20)]).toEqual([...rows[0]!.subarray(0, 12)]);
});
