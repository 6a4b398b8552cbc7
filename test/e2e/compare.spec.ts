/** @file Comparisons on the page: the verdict, curves saved as files, lineage, one model alone, the report for the desk, a comparison that is cancelled. */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Download, Page } from '@playwright/test';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { traces } from '../support/private.ts';
import { writeExamples } from './examples.ts';
import { expect, expectAccessible, open, test } from './host.ts';

test.use({ suite: 'compare' });
test.describe.configure({ mode: 'serial' });
const COMPARE = '#/p/replies/compare';
const SHORT = ['maxSteps=12', 'evalEvery=4', 'saveEvery=4', 'maxLength=96', 'batchSize=2', 'learningRate=0.02'];

test.beforeAll(async ({ host }) => {
  const set = SHORT.flatMap((each) => ['--set', each]);
  host.command('project', 'create', 'Replies');
  host.command('data', 'import', 'replies', await writeExamples(host.folder));
  host.command('model', 'add', await writeTinyModel(join(host.folder, 'Tiny')), '--name', 'tiny');
  host.command('train', 'replies', '--model', 'tiny', '--strategy', 'instruct', ...set);
  host.command('run', 'clone', 'replies-1', '--set', 'rank=4');
});

/** Turns off what takes minutes. */
async function quick(page: Page): Promise<void> {
  for (const name of ['General skills', 'Other text']) await page.getByRole('switch', { name }).click();
  await page.getByLabel('Questions answered').fill('3');
}
const text = async (download: Download): Promise<string> => readFile(await download.path(), 'utf8');

test('two runs are compared with their base by checks in plain words; the verdict says what to do next', async ({
  page,
  host,
}) => {
  await open(page, host, COMPARE, 'Compare');
  await quick(page);
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByText('How answers are judged').click();
  await page.getByRole('button', { name: 'Add a check' }).click();
  await page.getByLabel(/^Holds the words:/).fill('Dear');
  await page.getByRole('button', { name: 'Add a check' }).click();
  await page.getByLabel('Check 2', { exact: true }).selectOption('length');
  await page.getByLabel('at most').fill('400');
  await page.getByLabel('at most').press('Tab');
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Compare', exact: true }).click();
  await expect(page.getByText('Verdict on the strategy')).toBeVisible({ timeout: 90_000 });
  await expect(page.getByRole('heading', { name: 'What to do next' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'All 2 checks' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Holds the words: Dear' })).toBeVisible();
  await expect(page.getByRole('cell', { name: 'Size of the addition' })).toBeVisible();
  await page.getByText('What it was measured on').click();
  await expect(page.getByText(/Unseen questions: 3, version data \w+, checks 1/)).toBeVisible();
  await expectAccessible(page);
  const which = page.getByRole('group', { name: 'Which is looked at' }).getByRole('button');
  await expect(which).toHaveCount(2);
  await which.nth(1).focus();
  await page.keyboard.press('Enter');
  await expect(which.nth(1)).toHaveAttribute('aria-pressed', 'true');
  await page.getByRole('button', { name: 'All 2 checks' }).press('Enter');
  await expect(page.getByRole('dialog').getByText('Wanted', { exact: true })).toHaveCount(3);
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  // The data that it was measured on can be chosen, and every row behind the mean loss can be read.
  await expect(page.getByLabel('Unseen rows of')).toContainText('24 rows held out');
  await page.getByRole('button', { name: 'Row by row' }).click();
  await expect(page.getByRole('dialog').getByRole('row')).toHaveCount(25);
  await expectAccessible(page);
  await page.keyboard.press('Escape');
});

test('curves of the runs are laid over each other and saved; the lineage leads to the runs', async ({ page, host }) => {
  await open(page, host, COMPARE, 'Compare');
  const curves = page.getByRole('img', { name: /^Loss of Run 1 and Run 2/ });
  await expect(curves).toBeVisible();
  await page.getByRole('group', { name: 'Curves' }).getByRole('button', { name: 'Both' }).click();
  await page.getByRole('group', { name: 'Scale' }).getByRole('button', { name: 'Log' }).click();
  await page.getByRole('group', { name: 'Along' }).getByRole('button', { name: 'Tokens' }).click();
  await expect(page.getByText('Smoothing')).toBeVisible();
  const save = async (name: RegExp): Promise<Download> => {
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('group', { name: 'Save the chart' }).getByRole('button', { name }).click(),
    ]);
    return download;
  };
  const svg = await text(await save(/SVG/));
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  expect(svg).toContain('Run 2, unseen');
  expect(svg).not.toMatch(/<image|href|url\(/);
  const csv = (await text(await save(/CSV/))).trim().split('\r\n');
  expect(csv[0]).toBe(
    'Tokens,"Run 1, training","Run 1, training smoothed","Run 1, unseen","Run 2, training","Run 2, training smoothed","Run 2, unseen"',
  );
  expect(csv.length).toBeGreaterThan(12);
  const png = await readFile(await (await save(/PNG/)).path());
  expect(png.subarray(1, 4).toString()).toBe('PNG');
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1920, 960]);
  // The numbers and the names of runs, and nothing of the machine.
  const machine = [host.folder, basename(host.folder)];
  for (const saved of [Buffer.from(svg), Buffer.from(csv.join('\n')), png]) expect(traces(saved, machine)).toEqual([]);
  await page.getByRole('group', { name: 'Runs shown' }).getByRole('button', { name: 'Run 2' }).click();
  await expect(page.getByRole('img', { name: /^Loss of Run 1: / })).toBeVisible();
  const lineage = page.getByRole('region', { name: /^Lineage/ });
  await expect(lineage.getByText('base model')).toBeVisible();
  await expect(lineage.locator('[aria-current]')).toHaveCount(2);
});

test('the report for the desk comes as one file that needs nothing else', async ({ page, host }) => {
  await open(page, host, COMPARE, 'Compare');
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Report for the desk' }).click(),
  ]);
  expect(download.suggestedFilename()).toBe('replies-2-report.html');
  const html = await text(download);
  expect(html).not.toContain(host.folder);
  const paper = await page.context().newPage();
  const asked: string[] = [];
  paper.on('request', (request) => asked.push(request.url()));
  await paper.setContent(html);
  await expect(paper.getByText('Verdict on the strategy')).toBeVisible();
  expect(asked).toEqual([]);
  // Two pages of paper, as it is printed.
  await paper.emulateMedia({ media: 'print' });
  const pdf = (await paper.pdf({ preferCSSPageSize: true })).toString('latin1');
  expect(pdf.match(/\/Type \/Page\b/g)).toHaveLength(2);
  await paper.close();
});

test('export takes the run that was looked at, not the newest', async ({ page, host }) => {
  await open(page, host, COMPARE, 'Compare');
  await page.getByRole('link', { name: 'Export run 2' }).waitFor();
  await page.getByRole('group', { name: 'Which is looked at' }).getByRole('button').last().click();
  await page.getByRole('link', { name: 'Export run 1' }).click();
  await expect(page.getByRole('button', { name: 'Export run 1' })).toBeVisible();
  await expect(page.getByLabel('Run', { exact: true })).toHaveValue('replies-1');
});

test('one model is measured alone; a comparison is cancelled and keeps nothing', async ({ page, host }) => {
  await open(page, host, COMPARE, 'Compare');
  const leave = page.getByRole('button', { name: /^Leave out/ });
  await leave.last().click();
  await quick(page);
  await page.getByRole('button', { name: 'Measure it', exact: true }).click();
  await expect(page.getByText('tiny alone, on what none of them learned from.')).toBeVisible({ timeout: 60_000 });
  await expect(page.getByRole('heading', { name: /Precision on the goal/ })).toBeVisible({ timeout: 60_000 });
  await expectAccessible(page);

  await page.getByRole('switch', { name: 'General skills' }).click();
  await page.getByLabel('Questions answered').fill('200');
  await page.getByRole('button', { name: 'Measure it', exact: true }).click();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await expect(page.getByText('nothing of it was kept')).toBeVisible({ timeout: 60_000 });
  await expect(page.getByRole('heading', { name: 'Measured before' })).toBeVisible();
  await expectAccessible(page);
});

test('it holds in a small window', async ({ page, host }) => {
  await page.setViewportSize({ width: 1024, height: 768 });
  await open(page, host, COMPARE, 'Compare');
  await page.getByRole('button', { name: /^Run 2.* and Run 1.* against tiny/ }).click();
  await expect(page.getByText('Verdict on the strategy')).toBeVisible();
  // As text: these files know no browser.
  const wider = await page.evaluate<boolean>(
    `[...document.querySelectorAll('main, main *')].some((each) => each.getBoundingClientRect().right > innerWidth + 1)`,
  );
  expect(wider).toBe(false);
});
