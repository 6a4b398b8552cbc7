/** @file What is measured before a long training: ways tried on a slice, whether there are enough data; and a choice against the advice, which every run remembers. */
import { join } from 'node:path';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { writeExamples, writeFileOf } from './examples.ts';
import { expect, expectAccessible, open, test } from './host.ts';

test.use({ suite: 'trials' });
test.describe.configure({ mode: 'serial' });
const GOAL = '#/p/trials/goal';
const TITLE = 'How should the model learn?';

test.beforeAll(async ({ host }) => {
  const answers = { task: 'one-job', check: 'yes', flexibility: 'no', variety: 'varied', change: 'stable', cite: 'no' };
  const file = await writeFileOf(host.folder, 'answers.json', JSON.stringify({ ...answers, material: 'both' }));
  const text = Array.from({ length: 80 }, (_, i) => `The lamp of house ${i} hums, and kettle ${i * 7} waits.`);
  host.command('project', 'create', 'Trials');
  host.command('model', 'add', await writeTinyModel(join(host.folder, 'Tiny')), '--name', 'tiny');
  host.command('data', 'import', 'trials', await writeExamples(host.folder));
  host.command('data', 'import', 'trials', await writeFileOf(host.folder, 'text.txt', text.join('\n\n')));
  host.command('advise', 'trials', '--answers', file);
  host.command('pilot', 'trials', '--model', 'tiny', '--tokens', '1000');
  host.command('curve', 'trials', '--model', 'tiny', '--tokens', '1000');
});

test('a pilot shows each way against the model as it is; another one is cancelled, and the first stays', async ({
  page,
  host,
}) => {
  await open(page, host, '#/p/trials/model', 'Which model learns?');
  await page.getByRole('button', { name: 'Use tiny' }).click();
  await open(page, host, GOAL, TITLE);
  const ways = page.getByRole('region', { name: 'Loss of each way' });
  await expect(ways.getByRole('row')).toHaveCount(5);
  for (const way of ['The model as it is', 'Instruct tuning', 'Non-instruct tuning'])
    await expect(ways.getByRole('cell', { name: way, exact: true })).toBeVisible();
  await expect(page.getByText(/1,000 tokens to learn from for each way/)).toBeVisible();
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Try them again' }).click();
  await expect(page.getByRole('progressbar', { name: /./ }).first()).toBeVisible();
  await page.getByRole('main').getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByRole('button', { name: 'Try them again' })).toBeVisible({ timeout: 60_000 });
  await expect(ways).toBeVisible();
});

test('a learning curve says in words what it draws, and whether more would help', async ({ page, host }) => {
  await open(page, host, GOAL, TITLE);
  const drawn = page.getByRole('img', { name: /^Loss over the share of the data: .+ forecast for twice as much/ });
  await expect(drawn).toBeVisible();
  await expect(page.getByText(/Each\s+dot is a training/)).toBeVisible();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('main').getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByRole('button', { name: 'Try again' })).toBeVisible({ timeout: 60_000 });
  await expect(drawn).toBeVisible();
});

test('a choice against the advice is kept with its reason, and with the run', async ({ page, host }) => {
  await open(page, host, GOAL, TITLE);
  await page.getByRole('button', { name: 'Choose something else' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('radio', { name: /^Non-instruct/ }).check();
  await dialog.getByLabel('Why').fill('We only want its words');
  await expectAccessible(page);
  await dialog.getByRole('button', { name: 'Use non-instruct tuning' }).click();
  await expect(page.getByText('because “We only want its words”')).toBeVisible();
  const set = ['maxSteps=4', 'maxLength=64', 'rank=2', 'evalEvery=0', 'saveEvery=0'].flatMap((each) => ['--set', each]);
  host.command('train', 'trials', '--model', 'tiny', ...set);
  await open(page, host, '#/p/trials/run/trials-1', 'Run 1');
  await expect(page.getByText(/We only want its words/).first()).toBeVisible();
});
