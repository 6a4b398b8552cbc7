/** @file Every architecture through the app: a tiny model of each is trained, and its exports in 32 bits are proven, or refused with a sentence where a format cannot hold it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeExamples } from '../../test/e2e/examples.ts';
import { TINY_CONFIGS, writeRandomModel } from '../../test/fixtures/tiny-configs.ts';
import type { Export, ExportFormat, Run } from '../contract/entities.ts';
import type { HfConfig } from '../formats/model.ts';
import { createApp, type App } from '../hosts/app.ts';

// On a machine that is slow and busy: time is measured elsewhere.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

/** Without the windows that a GGUF file cannot hold in these families. */
const CHANGES: Readonly<Record<string, HfConfig>> = {
  mistral: { sliding_window: null },
  qwen2: { use_sliding_window: false, sliding_window: null },
};
/** What a format cannot hold, by the word that the sentence names it with. */
const REFUSED: Readonly<Record<string, Partial<Record<ExportFormat, string>>>> = { phi3: { onnx: 'LongRoPE' } };
const FORMATS = ['safetensors', 'gguf', 'onnx'] as const;

const folder = mkdtempSync(join(tmpdir(), 'fettle-families-'));
let app: App;
beforeAll(async () => {
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  await app.client.call('projects.create', { name: 'Shop' });
  const paths = [await writeExamples(folder)];
  await app.core.jobs.settled((await app.client.call('datasets.import', { project: 'shop', paths })).id);
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

async function trained(name: string): Promise<Run> {
  const { client, core } = app;
  const path = await writeRandomModel(join(folder, name), { ...TINY_CONFIGS[name], ...CHANGES[name] });
  await core.jobs.settled((await client.call('models.add', { path, name })).id);
  // Far enough that the adapter is seen in what is written.
  const set = { maxSteps: 2, learningRate: 0.02, warmupRatio: 0, evalEvery: 0, saveEvery: 0, maxLength: 64, rank: 2 };
  const { id } = await client.call('runs.start', { project: 'shop', model: name, strategy: 'instruct', set });
  await core.jobs.settled(core.jobs.of('train', id)!.id);
  return client.call('runs.show', { run: id });
}

describe.each(Object.keys(TINY_CONFIGS))('%s', (name) => {
  it('is proven in every format that can hold it', async () => {
    const { client, core } = app;
    const run = await trained(name);
    expect([run.state, run.error]).toEqual(['completed', null]);
    const exported = async (format: ExportFormat): Promise<Export> => {
      const out = join(folder, 'out', `${name}-${format}`);
      const { id } = await client.call('exports.start', { run: run.id, format, dtype: 'f32', out });
      await core.jobs.settled(core.jobs.of('export', id)!.id);
      return client.call('exports.show', { export: id });
    };
    for (const format of FORMATS) {
      const { state, error, proof } = await exported(format);
      const refused = REFUSED[name]?.[format];
      if (refused) {
        expect([format, state, error?.code]).toEqual([format, 'failed', 'EXPORT_UNSUPPORTED']);
        expect(error!.message).toContain(refused);
        continue;
      }
      expect([format, state, error]).toEqual([format, 'completed', null]);
      expect(proof!.tokensCompared).toBeGreaterThan(0);
      // Of two tokens that are as good as each other either may be said.
      expect(['equal', 'within']).toContain(proof!.verdict);
      expect(proof!.largestLogitDifference).toBeLessThan(1e-3);
    }
  });
});
