/** @file Data by hand: columns given their meaning by drag and by keys, what is left out of a folder said, and many rows walked through. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, expectAccessible, open, pick, test } from './host.ts';

test.use({ suite: 'data' });
test.describe.configure({ mode: 'serial' });
const PROJECT = '#/p/data-by-hand';
const ROWS = 5000;

test('columns get their meaning by drag and by keys', async ({ page, host }) => {
  await open(page, host, '', /./);
  await page.getByRole('button', { name: 'New project' }).first().click();
  await page.getByLabel('Name').fill('Data by hand');
  await page.getByRole('button', { name: 'Create project' }).click();
  const folder = join(host.folder, 'tickets');
  await mkdir(folder);
  const rows = Array.from({ length: ROWS }, (_, i) => `Ticket ${i} says "hello";Reply ${i};${i}`);
  // As a spreadsheet writes it here: its separator named, letters of Windows-1252.
  const table = `sep=;\r\nTicket;Größe;Nummer\r\n${rows.join('\r\n')}\r\n`;
  await writeFile(join(folder, 'tickets.csv'), Buffer.from(table, 'latin1'));
  await writeFile(join(folder, 'photo.png'), 'no text');
  await page.getByRole('button', { name: 'Choose files' }).click();
  await pick(page, folder, 'Look into them');
  await expect(page.getByText('1 file of a kind that Fettle cannot read.')).toBeVisible();
  await expect(page.getByText('Say below what its columns become.')).toBeVisible();
  await expectAccessible(page);

  const place = (meaning: string) => page.getByRole('group', { name: meaning, exact: true });
  const chip = (column: string) => page.locator('.chip').filter({ hasText: column });
  await chip('Ticket').locator('.grip').dragTo(place('Question'));
  await expect(place('Question').locator('code')).toHaveText('Ticket');
  // Back to where it came from, and again: nothing is settled by one drag.
  await chip('Ticket').locator('.grip').dragTo(place('Not used'));
  await expect(place('Question').locator('code')).toHaveCount(0);
  await chip('Ticket').locator('.grip').dragTo(place('Question'));
  await page.getByLabel('What Größe becomes').focus();
  await page.keyboard.type('Answer');
  await expect(place('Answer').locator('code')).toHaveText('Größe');
  await page.getByRole('button', { name: 'Read it like this' }).focus();
  await page.keyboard.press('Enter');
  await expect(page.getByText(/Mapped pairs: as mapped by hand/)).toBeVisible();
  await page.getByRole('button', { name: 'Bring in this file' }).click();
  await expect(page.getByText(`${ROWS.toLocaleString('en-GB')} pairs remain after cleaning`)).toBeVisible();
});

test('many rows are walked through, a window at a time', async ({ page, host }) => {
  await open(page, host, `${PROJECT}/data`, 'Data');
  const region = page.getByRole('region', { name: 'Rows', exact: true }).last();
  const lines = region.locator('tbody > tr');
  await expect(region.getByText('Reply 0', { exact: true })).toBeVisible();
  for (let i = 0; i < 8; i++) {
    const before = await lines.first().innerText();
    await region.evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
    if (i > 4) await expect.poll(() => lines.first().innerText()).not.toBe(before);
    else await expect.poll(() => lines.count()).toBeGreaterThan(Math.min(159, 40 * (i + 1)));
  }
  expect(await lines.count()).toBeLessThanOrEqual(160);
  await page.getByLabel('Place in the data').focus();
  await page.keyboard.press('End');
  await expect(region.getByText(`Reply ${ROWS - 1}`, { exact: true })).toBeVisible();
  await page.getByLabel('Go to').fill('2500');
  await page.keyboard.press('Enter');
  await expect(region.getByText('Reply 2499', { exact: true })).toBeVisible();
  expect(await lines.count()).toBeLessThanOrEqual(160);
  await expectAccessible(page);
});
