/** @file The tiny model that comes with Fettle: it can be had without a network, and it has learned. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { resource } from '../core/resources.ts';
import { loadBase } from '../engine/index.ts';
import { evaluate } from '../engine/train/evaluate.ts';
import { chatExample } from '../engine/train/examples.ts';
import { openModel } from '../formats/open.ts';
import { createApp, type App } from '../hosts/app.ts';
import { Recipe } from '../contract/recipe.ts';
import { World } from '../../scripts/starter/text.ts';

const home = mkdtempSync(join(tmpdir(), 'fettle-bundled-'));
let app: App;
beforeAll(() => {
  app = createApp({ home, kind: 'command', threads: 1 });
});
afterAll(async () => {
  await app.close();
  rmSync(home, { recursive: true, force: true });
});

it('is added to the library without a network, once', async () => {
  const { job } = await app.client.call('models.starter', { bundled: true });
  await app.core.jobs.settled(job!.id);
  const { model, job: none } = await app.client.call('models.starter', { bundled: true });
  expect(none).toBeNull();
  expect(model).toMatchObject({ id: 'fettle-tiny', kind: { value: 'instruct' }, hasChatTemplate: true });
  expect(model!.bytes).toBeLessThan(6e6);
});

it('finds texts of its own world likely that it has not seen', async () => {
  const files = await openModel(resource('starter'));
  const base = await loadBase(files.config, files.weights, { threads: 1 });
  const world = new World(99);
  const examples = Array.from({ length: 20 }, () => world.piece()).flatMap((piece) =>
    'messages' in piece
      ? [chatExample(piece.messages, { tokenizer: files.tokenizer, template: files.chatTemplate! })]
      : [],
  );
  const { loss } = (await evaluate(base, examples, Recipe.parse({ strategy: 'instruct' })))!;
  // One that has learned nothing is at log(2048), 7.6 nats.
  expect(loss).toBeLessThan(1);
  await base.release();
  await files.close();
});
