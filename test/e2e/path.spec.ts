/** @file The whole path as a new person walks it: from an empty home to an exported adapter. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { writeExamples } from './examples.ts';
import { expect, expectAccessible, open, pick, startLongRun, stepsDrawn, test } from './host.ts';

test.use({ suite: 'path' });
test.describe.configure({ mode: 'serial' });
const PROJECT = '#/p/repair-replies';
const RUN = `${PROJECT}/run/repair-replies-1`;

test('an empty home says what to do, and a project is made', async ({ page, host }) => {
  await open(page, host, '', 'Start with your files');
  await expectAccessible(page);
  await page.getByRole('button', { name: 'New project' }).click();
  await page.getByLabel('Name').fill('Repair replies');
  await page.getByLabel(/What should the model do/).fill('Answer in our tone');
  await expectAccessible(page);
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await page.getByRole('button', { name: 'New project' }).click();
  await page.getByLabel('Name').fill('Repair replies');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: 'Data' })).toBeVisible();
  await expectAccessible(page);
});

test('examples come in, with what was recognised and what was left out', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/data`, 'Data');
  const examples = await writeExamples(host.folder);
  await page.getByRole('button', { name: 'Choose files' }).click();
  await expectAccessible(page);
  await pick(page, examples, 'Look into them');
  await expect(page.getByRole('heading', { name: 'Looked into' })).toBeVisible();
  await expect(page.getByText('column "instruction" in 100% of the rows')).toBeVisible();
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Bring in this file' }).click();
  await expect(page.getByRole('heading', { name: 'What was recognised' })).toBeVisible();
  await expect(page.getByText('240 pairs remain after cleaning')).toBeVisible();
  await expect(page.getByText('left out 2 of 242')).toBeVisible();
  await page.getByLabel('Search the rows').fill('umbrella is scratched');
  await expect(page.getByText('Row 1 of 5', { exact: true })).toBeVisible();
  await page.getByLabel('Search the rows').fill('');
  // All of them can be reached, and few are held at once.
  await expect(page.getByText('Row 1 of 240', { exact: true })).toBeVisible();
  await page.getByLabel('Go to').fill('200');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('button', { name: 'Change row 200', exact: true })).toBeVisible();
  await expectAccessible(page);
});

test('a row is changed and one removed: a new version, and the old one stays', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/data`, 'Data');
  await page.getByRole('button', { name: 'Change row 1', exact: true }).click();
  await page.getByLabel('Answer').fill('We mend it on Tuesday.');
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Keep the change' }).click();
  await page.getByRole('button', { name: 'Change row 2', exact: true }).click();
  await page.getByRole('button', { name: 'Remove this row' }).click();
  await expect(page.getByText('2 changes open')).toBeVisible();
  await page.getByRole('button', { name: 'Keep as a new version' }).click();
  await expect(page.getByText('239 pairs remain after cleaning')).toBeVisible();
  await expect(page.getByText('By hand: 1 row changed, 1 row removed')).toBeVisible();
  await expect(page.getByText('We mend it on Tuesday.')).toBeVisible();
  await expect(page.getByRole('group', { name: 'Which data are shown' }).getByRole('button')).toHaveCount(2);
});

test('a model is added and chosen; its kind is shown with evidence', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/model`, 'Which model learns?');
  await expectAccessible(page);
  const folder = await writeTinyModel(join(host.folder, 'Tiny-Llama-Instruct'));
  await page.getByRole('button', { name: 'Add a folder or GGUF' }).click();
  await pick(page, folder, 'Add it');
  await expect(page.getByRole('heading', { name: 'Why we say instruct' })).toBeVisible();
  await expect(page.getByText('It brings a chat template.').first()).toBeVisible();
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Use Tiny-Llama-Instruct' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'How should the model learn?' })).toBeVisible();

  await open(page, host, `${PROJECT}/data`, 'Data');
  const seen = page.locator('.seen');
  await expect(seen.locator('.special').first()).toHaveText('<|im_start|>');
  await expect(seen.locator('.loss').first()).toBeVisible();
  await expectAccessible(page);
});

test('questions are answered by keys, and the advice is taken', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/goal`, 'How should the model learn?');
  for (let question = 1; question <= 7; question++) {
    await expect(page.getByText(`Question ${question} of 7`)).toBeVisible();
    await page.keyboard.press('1');
    await expect(page.getByText(`on ${question} of 7 answers`)).toBeVisible();
  }
  await expect(page.getByRole('heading', { name: 'Instruct tuning' })).toBeVisible();
  for (const axis of ['Goal clarity', 'Flexibility against specificity', 'Data dependency'])
    await expect(page.getByRole('heading', { name: axis })).toBeVisible();
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Choose something else' }).click();
  await page.getByLabel('Why').fill('To see what it does');
  await page.getByRole('button', { name: 'Use non-instruct tuning' }).click();
  await expect(page.getByText('because “To see what it does”')).toBeVisible();
  await page.getByRole('button', { name: 'Use instruct tuning' }).click();
  await expect(page.getByText('Chosen', { exact: true })).toBeVisible();
});

test('the recipe has reasons; an unusual value is questioned, an impossible one refused', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/tune`, 'Tune');
  await expect(page.getByText('It fits this machine')).toBeVisible();
  const rate = page.getByLabel('Step size', { exact: true });
  await rate.fill('0.02');
  await rate.press('Tab');
  await expect(page.getByText('Is it meant?')).toBeVisible();
  await rate.fill('quick');
  await rate.press('Tab');
  await expect(page.getByRole('alert')).toContainText('learningRate takes');
  await expect(page.getByRole('button', { name: 'Start training' })).toBeDisabled();
  await page.getByRole('button', { name: 'Back to the advised values' }).click();
  await expect(page.getByRole('alert')).toHaveCount(0);
  await page.getByRole('button', { name: /Expert settings/ }).click();
  await expect(page.getByLabel('Seed')).toHaveValue('42');
  await expectAccessible(page);
});

test('it trains: the curve moves, outlives a reload, a pause and a resume', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/tune`, 'Tune');
  await startLongRun(page);

  await expect.poll(() => stepsDrawn(page), { timeout: 60_000 }).toBeGreaterThan(25);
  await expect(page.getByRole('contentinfo')).toContainText('Training run 1');
  await expectAccessible(page);

  const before = await stepsDrawn(page);
  await page.reload();
  await expect.poll(() => stepsDrawn(page)).toBeGreaterThanOrEqual(before);
  await page.getByRole('button', { name: 'Table', exact: true }).click();
  await expect(page.getByRole('region', { name: 'Loss on unseen examples' }).getByRole('row').nth(1)).toContainText(
    '0',
  );
  await page.getByRole('button', { name: 'Table', exact: true }).click();
  await expect.poll(() => stepsDrawn(page), { timeout: 60_000 }).toBeGreaterThan(before);

  await page.getByRole('main').getByRole('button', { name: 'Pause' }).click();
  await expect(page.getByText(/^Paused at step/)).toBeVisible();
  const paused = await stepsDrawn(page);
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Resume' }).click();
  await expect.poll(() => stepsDrawn(page), { timeout: 60_000 }).toBeGreaterThan(paused);
  await page.getByRole('button', { name: /^Stop and keep step/ }).click();
  await expect(page.getByRole('link', { name: 'Compare with the base' })).toBeVisible();
  await expect(page.getByText(/^Stopped at step/)).toBeVisible();
});

test('a run goes on, and is run again with changes', async ({ page, host }) => {
  await open(page, host, RUN, 'Run 1');
  const before = await stepsDrawn(page);
  await page.getByRole('button', { name: 'Train further' }).click();
  await page.getByLabel('How much more').fill('5');
  await page.getByLabel('Of what').selectOption('steps');
  await page.getByRole('dialog').getByRole('button', { name: 'Train further' }).click();
  await expect.poll(() => stepsDrawn(page), { timeout: 60_000 }).toBeGreaterThan(before);
  await expect(page.getByRole('link', { name: 'Compare with the base' })).toBeVisible({ timeout: 60_000 });

  await page.getByRole('button', { name: 'Run again with changes' }).click();
  await page
    .getByRole('dialog')
    .getByLabel(/Steps at most/)
    .fill('6');
  await page.getByRole('dialog').getByLabel('Size of the addition').fill('4');
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Start the new run' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Run 2' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'Compare with the base' })).toBeVisible({ timeout: 60_000 });
  await expect(page.getByText('rank 4, 6 steps; its recipe, changed')).toBeVisible();
});

test('a run is compared with its base, and with another run', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/compare`, 'Compare');
  await page.getByLabel('Compared', { exact: true }).selectOption('repair-replies-1');
  await page.getByLabel('Questions answered').fill('4');
  await page.getByRole('button', { name: 'Compare', exact: true }).click();
  await expect(page.getByText('Verdict on the strategy')).toBeVisible({ timeout: 90_000 });
  await expect(page.getByRole('heading', { name: 'Side by side' })).toBeVisible();
  // The scorecard: the goal, what was kept, and every item behind a figure.
  await expect(page.getByRole('heading', { name: /Precision on the goal/ })).toBeVisible();
  await expect(page.getByText('All 504 general questions')).toBeVisible();
  await expectAccessible(page);
  await page.getByRole('button', { name: /^Words in order|^The very answer|^The right/ }).click();
  await expect(page.getByRole('dialog').getByText('Wanted', { exact: true }).first()).toBeVisible();
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Close', exact: true }).last().click();
  await page.getByLabel('Against', { exact: true }).selectOption('repair-replies-2');
  await page.getByRole('button', { name: 'Compare again' }).click();
  await expect(page.getByRole('cell', { name: 'Size of the addition' })).toBeVisible({ timeout: 90_000 });
});

test('a prompt is answered by the run and the base', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/try`, 'Talk to it');
  await page.getByText('How it chooses words').click();
  await page.getByLabel('Longest answer, tokens').fill('12');
  await page.getByLabel('Your message').fill('Ana writes that the lamp leaks.');
  await page.keyboard.press('Enter');
  await expect(page.getByText(/12 tokens, \d+ a second/)).toHaveCount(2, { timeout: 60_000 });
  await expectAccessible(page);
});

test('it is exported, proven, and lies where it says', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/export`, 'Export');
  await page.getByLabel('Run', { exact: true }).selectOption('repair-replies-1');
  await page.getByRole('radio', { name: /Adapter only/ }).check();
  await page.getByRole('button', { name: 'Export run 1' }).click();
  await expect(page.getByText('Proven', { exact: true })).toBeVisible({ timeout: 90_000 });
  const folder = await page.locator('code.folder').first().innerText();
  expect(JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'))).toMatchObject({ peft_type: 'LORA' });
  for (const [i, format] of [/Merged folder/, /One file/, /Ollama folder/, /For the browser and apps/].entries()) {
    await page.getByRole('radio', { name: format }).check();
    await page.getByRole('button', { name: 'Export run 1' }).click();
    await expect(page.getByText('Proven', { exact: true })).toHaveCount(i + 2, { timeout: 90_000 });
  }
  // What to type stands there with the files' names, for the one that is asked for.
  await page.getByRole('button', { name: 'How to run it' }).last().click();
  await expect(page.getByLabel('Commands for transformers')).toContainText(`PeftModel.from_pretrained(`);
  await page.getByRole('button', { name: 'vLLM' }).click();
  await expect(page.getByLabel('Commands for vLLM')).toContainText(`tuned=${folder}`);
  await expectAccessible(page);
});

test('an adapter that was made elsewhere comes in as a run, and goes out again', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/export`, 'Export');
  const folder = await page.locator('code.folder').first().innerText();
  await page.getByRole('button', { name: 'Bring an adapter' }).click();
  await page.getByRole('dialog').getByLabel('Folder').fill(join(folder, 'nowhere'));
  await page.getByRole('button', { name: 'Bring it in' }).click();
  await expect(page.getByRole('alert')).toContainText('There is no folder');
  host.command('export', 'repair-replies-1', '--format', 'adapter', '--out', join(host.folder, 'from-afar'));
  await page.getByRole('dialog').getByLabel('Folder').fill(join(host.folder, 'from-afar'));
  await page.getByRole('button', { name: 'Bring it in' }).click();
  await expect(page.getByRole('heading', { name: 'What its files say' })).toBeVisible();
  await expectAccessible(page);
  await open(page, host, `${PROJECT}/export`, 'Export');
  await expect(page.getByLabel('Run', { exact: true }).locator('option').first()).toContainText('from-afar');
});

test('the other pages stand, in both themes', async ({ page, host }) => {
  for (const [hash, title] of [
    ['#/', 'Projects'],
    ['#/models', 'Models'],
    ['#/jobs', 'Jobs'],
    ['#/doctor', 'Doctor'],
    ['#/settings', 'Settings'],
  ] as const) {
    await open(page, host, hash, title);
    await expectAccessible(page);
  }
  await page.getByRole('button', { name: 'Dark', exact: true }).click();
  await page.reload();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
});
