/** @file Talking to models as a person does: a conversation that is kept, a file answered, an address for other programs, a choice without names. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { writeExamples, writeFileOf } from './examples.ts';
import { expect, expectAccessible, open, pick, test } from './host.ts';

test.use({ suite: 'talk' });
test.describe.configure({ mode: 'serial' });
const PROJECT = '#/p/talk';
const send = async (page: Page, text: string): Promise<void> => {
  await page.getByLabel('Your message').fill(text);
  await page.keyboard.press('Enter');
};
const panel = (page: Page, name: string) => page.getByRole('region', { name });

test('a conversation goes on over turns, outlives a reload, and is found again', async ({ page, host }) => {
  host.command('project', 'create', 'Talk');
  for (const [name, seed] of [
    ['first', 7],
    ['second', 9],
  ] as const)
    host.command('model', 'add', await writeTinyModel(join(host.folder, name), { seed }), '--name', name);
  host.command('data', 'import', 'talk', await writeExamples(host.folder));

  await open(page, host, `${PROJECT}/try`, 'Talk to it');
  await expectAccessible(page);
  await page.getByLabel('System text').fill('Be short.');
  await page.getByText('How it chooses words').click();
  await page.getByLabel('Longest answer, tokens').fill('6');
  await send(page, 'Ana writes that the lamp leaks.');
  await expect(page.getByText(/6 tokens, \d+ a second/)).toHaveCount(1, { timeout: 60_000 });
  await send(page, 'And the kettle?');
  await expect(page.getByText(/6 tokens, \d+ a second/)).toHaveCount(2, { timeout: 60_000 });
  await expect(page.getByText(/^\d+ of 512 tokens$/)).toBeVisible();

  await page.reload();
  await expect(page.getByText('And the kettle?')).toBeVisible();
  await expect(page.getByLabel('System text')).toHaveValue('Be short.');

  // Another model joins, side by side.
  await page.getByRole('checkbox', { name: /second/ }).check();
  await page.getByRole('button', { name: 'Ask second the same' }).click();
  await expect(page.getByText(/6 tokens, \d+ a second/)).toHaveCount(3, { timeout: 60_000 });
  await expect(page.getByRole('heading', { name: 'second', exact: true })).toBeVisible();
  await send(page, 'Both of you now.');
  await expect(page.getByText(/6 tokens, \d+ a second/)).toHaveCount(5, { timeout: 60_000 });
  await expectAccessible(page);

  await page.getByRole('button', { name: 'Rename' }).click();
  await page.getByRole('dialog').getByLabel('Name').fill('Lamps and kettles');
  await page.getByRole('dialog').getByRole('button', { name: 'Rename' }).click();
  await expect(page.getByRole('heading', { name: 'Lamps and kettles' })).toBeVisible();

  await page.getByRole('button', { name: 'New conversation' }).click();
  await expect(page.getByText('And the kettle?')).toHaveCount(0);
  await send(page, 'Another one.');
  await expect(page.getByRole('button', { name: /^Another one/ })).toBeVisible();
  await page.getByRole('button', { name: /^Lamps and kettles/ }).click();
  await expect(page.getByText('Both of you now.')).toBeVisible();
  await page.getByRole('button', { name: 'Delete “Another one.”' }).click();
  await page.getByRole('button', { name: 'Delete it' }).click();
  await expect(page.getByRole('button', { name: /^Another one/ })).toHaveCount(0);
});

test('an answer is stopped, and a message that is too long is refused in words', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/try`, 'Talk to it');
  await page.getByText('How it chooses words').click();
  await page.getByLabel('Longest answer, tokens').fill('400');
  await page.getByLabel('Freedom').fill('1');
  // By the page itself, as soon as there is something to stop: a tiny model has said all it has to say in a third of a second.
  await page.evaluate(`new MutationObserver((_, observer) => {
    const stop = [...document.querySelectorAll('button')].find(({ textContent }) => textContent.trim() === 'Stop');
    if (!stop) return;
    observer.disconnect();
    stop.click();
  }).observe(document.body, { childList: true, subtree: true });`);
  await send(page, 'Talk on.');
  await expect(page.getByText(/, stopped$/)).toBeVisible({ timeout: 60_000 });
  await send(page, 'x'.repeat(600));
  await expect(page.getByRole('alert')).toContainText('this model reads 512 at most', { timeout: 60_000 });
});

test('a file is answered beside itself', async ({ page, host }) => {
  const path = await writeFileOf(
    host.folder,
    'notes.csv',
    'id,note,more\n1,The lamp leaks,a\n2,,b\n3,The chair creaks,c\n',
  );
  await open(page, host, `${PROJECT}/try`, 'Talk to it');
  const answers = panel(page, 'Answer a file');
  await answers.getByRole('button', { name: 'Choose a file' }).click();
  await pick(page, path, 'Look into it');
  await expect(answers.getByRole('button', { name: 'Answer 3 rows' })).toBeDisabled();
  await answers.getByLabel('What is asked').selectOption('note');
  await expectAccessible(page);
  await answers.getByRole('button', { name: 'Answer 3 rows' }).click();
  await expect(answers.getByText('3 of 3 answered, 1 empty')).toBeVisible({ timeout: 60_000 });
  await expect(answers.getByText('Done', { exact: true })).toBeVisible();
  const written = await readFile(join(host.folder, 'notes.answered.csv'), 'utf8');
  expect(written.split('\n')[0]).toBe('id,note,more,answer,answer_note');

  await answers.getByRole('button', { name: 'Choose a file' }).click();
  await pick(page, await writeFileOf(host.folder, 'nothing.csv', ''), 'Look into it');
  await expect(answers.getByRole('alert')).toContainText('nothing.csv is empty');
});

test('other programs ask at the local address while it is on', async ({ page, host, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await open(page, host, `${PROJECT}/try`, 'Talk to it');
  const others = panel(page, 'For other programs');
  await others.getByRole('switch').click();
  await expect(others.getByText('On, first')).toBeVisible();
  await expect(others.getByText('Not used yet.')).toBeVisible();
  const copied = async (what: string): Promise<string> => {
    await others.getByRole('button', { name: `Copy the ${what}` }).click();
    return page.evaluate<string>('navigator.clipboard.readText()');
  };
  const address = await copied('address');
  const token = await copied('token');
  expect(token).toMatch(/^fettle-[\w-]{32}$/);
  await expect(others).not.toContainText(token);
  await expectAccessible(page);
  const reply = await fetch(`${address}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: await copied('model'),
      max_tokens: 3,
      messages: [{ role: 'user', content: 'Hello' }],
    }),
  });
  expect(await reply.json()).toMatchObject({ object: 'chat.completion', usage: { completion_tokens: 3 } });
  await expect(others.getByText(/1 request, the last Today/)).toBeVisible();
  await others.getByRole('switch').click();
  await expect(others.getByText('Off', { exact: true })).toBeVisible();
  await expect(fetch(`${address}/models`, { headers: { authorization: `Bearer ${token}` } })).rejects.toThrow();
});

test('two are judged by keys without their names, which come at the end', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/blind`, 'Blind test');
  await expectAccessible(page);
  await page.getByLabel('Pairs at most').fill('5');
  await page.getByText('How it chooses words').click();
  await page.getByLabel('Longest answer, tokens').fill('6');
  await page.getByRole('button', { name: 'Start judging' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Which answer is better?' })).toBeVisible();
  await expect(page.getByRole('heading', { name: /^Pair 1/ })).toBeVisible({ timeout: 60_000 });
  await expectAccessible(page);
  const main = page.getByRole('main');
  await expect(main).not.toContainText(/\bfirst\b|\bsecond\b/);
  for (const [i, key] of ['1', '2', '0'].entries()) {
    await expect(page.getByRole('heading', { name: new RegExp(`^Pair ${i + 1}`) })).toBeVisible({ timeout: 60_000 });
    await page.keyboard.press(key);
  }
  await expect(page.getByText('3 judged, 1 without difference')).toBeVisible();
  await page.reload();
  await expect(page.getByRole('heading', { name: /^Pair 4/ })).toBeVisible({ timeout: 60_000 });
  await page.getByRole('button', { name: 'Take the last vote back' }).click();
  await expect(page.getByRole('heading', { name: /^Pair 3/ })).toBeVisible();
  await page.getByLabel('Why, if you like').fill('shorter, 1 line');
  await page.getByRole('button', { name: /^1 is better/ }).click();
  await expect(page.getByText('3 judged, 0 without difference')).toBeVisible();
  await page.getByRole('button', { name: 'Stop and show the names' }).click();
  await expect(page.getByText('shorter, 1 line')).toBeVisible();
  await expect(page.getByText(/^(first|second) has more votes, [23] to [01]$/)).toBeVisible();
  await expectAccessible(page);
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save as CSV' }).click();
  expect((await download).suggestedFilename()).toBe('talk-blind-1.csv');
});
