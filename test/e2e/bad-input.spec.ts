/** @file What goes wrong is said where it happened, with what to do; nothing is left half-written. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { writeExamples, writeFileOf } from './examples.ts';
import { expect, open, pick, startLongRun, stepsDrawn, test } from './host.ts';

test.use({ suite: 'bad input' });
test.describe.configure({ mode: 'serial' });
const PROJECT = '#/p/bad-input';

test('files that cannot be read are refused, and the project stays empty', async ({ page, host }) => {
  await open(page, host, '', /./);
  await page.getByRole('button', { name: 'New project' }).first().click();
  await page.getByLabel('Name').fill('Bad input');
  await page.getByRole('button', { name: 'Create project' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Data' })).toBeVisible();
  const files: readonly (readonly [string, RegExp])[] = [
    [join(host.folder, 'missing.jsonl'), /does not exist|cannot be found|no such/i],
    [await writeFileOf(host.folder, 'empty.jsonl', ''), /empty/i],
    [await writeFileOf(host.folder, 'photo.png', new Uint8Array([0x89, 0x50, 0x4e, 0x47, 1, 2, 3])), /./],
    [await writeFileOf(host.folder, 'no-answers.jsonl', '{"instruction": "What?", "response": ""}\n'), /./],
  ];
  for (const [path, said] of files) {
    await page.getByRole('button', { name: 'Choose files' }).click();
    await pick(page, path, 'Look into them');
    if (path.endsWith('no-answers.jsonl')) {
      await expect(page.getByText('1 row left out: no response')).toBeVisible();
      await page.getByRole('button', { name: 'Bring in this file' }).click();
    }
    await expect(page.getByRole('alert')).toContainText(said);
    await page.getByRole('button', { name: 'Dismiss' }).click();
  }
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Drop examples or documents here' })).toBeVisible();
});

test('a dropped file goes over, is read, and its bad rows are told', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/data`, 'Data');
  const rows = Array.from({ length: 40 }, (_, i) => ({
    question: `How many is ${i} and one?`,
    answer: `It is ${i + 1}.`,
  }));
  const text = `${rows.map((row) => JSON.stringify(row)).join('\n')}\n{"question": "cut sho\n`;
  const data = await page.evaluateHandle(
    `{ const data = new DataTransfer(); data.items.add(new File([${JSON.stringify(text)}], 'sums.jsonl')); data }`,
  );
  await page.locator('.drop').dispatchEvent('drop', { dataTransfer: data });
  await page.getByRole('button', { name: 'Bring in this file' }).click();
  await expect(page.getByText('40 pairs remain after cleaning')).toBeVisible();
  await expect(page.getByText('left out 1 of 41')).toBeVisible();
});

test('models that are none, or not supported, are refused by name', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/model`, 'Which model learns?');
  const notes = await writeFileOf(host.folder, 'notes.gguf', 'These are notes, not a model.');
  const other = await writeTinyModel(join(host.folder, 'other'));
  await writeFileOf(other, 'config.json', '{"architectures": ["BertModel"], "model_type": "bert"}');
  const empty = join(host.folder, 'empty-folder');
  await mkdir(empty);
  for (const [path, said] of [
    [join(host.folder, 'nowhere'), /does not exist/],
    [notes, /GGUF/],
    [other, /bert/i],
    [empty, /./],
  ] as const) {
    await page.getByRole('button', { name: 'Add a folder or GGUF' }).click();
    await pick(page, path, 'Add it');
    await expect(page.getByRole('alert').filter({ hasText: said })).toBeVisible();
  }
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Bring a model' })).toBeVisible();
});

test('pages that need what is not there say so and lead on', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/tune`, 'Tune');
  await expect(page.getByRole('link', { name: 'Choose a model' })).toBeVisible();
  await open(page, host, `${PROJECT}/compare`, 'Compare');
  await expect(page.getByText('Nothing to compare yet')).toBeVisible();
  await open(page, host, `${PROJECT}/export`, 'Export');
  await expect(page.getByText('Nothing to hand over yet')).toBeVisible();
  await page.goto(host.at('#/p/nowhere/data'));
  await expect(page.getByRole('alert')).toContainText('no project named');
  await page.goto(host.at(`${PROJECT}/run/bad-input-9`));
  await expect(page.getByRole('alert')).toBeVisible();
});

test('a host that is gone is said, with what is safe', async ({ page, another, complaints }) => {
  const host = await another();
  await page.goto(host.url);
  await expect(page.getByRole('heading', { name: 'Start with your files' })).toBeVisible();
  await host.stop();
  await expect(page.getByRole('alert').filter({ hasText: 'Fettle does not answer' })).toBeVisible();
  // The browser tells of each attempt to reach it again.
  await page.close();
  complaints.splice(0);
});

test('a run whose machine went off is interrupted, loses nothing that was saved, and goes on', async ({
  page,
  another,
  complaints,
}) => {
  const first = await another();
  first.command('project', 'create', 'Cut short');
  first.command('data', 'import', 'cut-short', await writeExamples(first.folder));
  first.command('model', 'add', await writeTinyModel(join(first.folder, 'Tiny-Llama-Instruct')));
  await open(page, first, '#/p/cut-short/model', 'Which model learns?');
  await page.getByRole('button', { name: 'Use Tiny-Llama-Instruct' }).click();
  await open(page, first, '#/p/cut-short/tune', 'Tune');
  await startLongRun(page);
  await expect.poll(() => stepsDrawn(page), { timeout: 60_000 }).toBeGreaterThan(25);
  const before = await stepsDrawn(page);
  await first.kill();
  const second = await another(first.folder);
  await page.goto(second.url);
  await open(page, second, '#/p/cut-short/run/cut-short-1', 'Run 1');
  await expect(page.getByRole('alert')).toContainText(/The run was interrupted.*Safe: everything up to step/s);
  await page.getByRole('button', { name: 'Resume' }).click();
  await expect.poll(() => stepsDrawn(page), { timeout: 60_000 }).toBeGreaterThan(before);
  await page.close();
  // The browser told of the connection that was cut.
  complaints.splice(0);
});
