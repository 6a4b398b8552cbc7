/** @file A web host with an empty home for a test file, and a page that is let in and reports every error of its own. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { AxeBuilder } from '@axe-core/playwright';
import { expect, test as base, type Page } from '@playwright/test';

const root = resolve(import.meta.dirname, '../..');

export interface Host {
  /** With the token. */
  readonly url: string;
  /** A folder for the test's own files; removed with the host. */
  readonly folder: string;
  /** The address of a page, such as "#/jobs". */
  at(hash: string): string;
  /** Runs the command against this host. */
  command(...args: string[]): void;
  /** Ends it as a power cut does; its home stays for the next host. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts `fettle serve` on a free port, with an empty home or the one that a killed host left in `folder`. */
async function startHost(left?: string): Promise<Host> {
  if (!existsSync(join(root, 'dist/renderer/index.html'))) throw new Error('The workbench is not built: npm run build');
  const folder = left ?? (await mkdtemp(join(tmpdir(), 'fettle-e2e-')));
  const home = join(folder, 'home');
  const child = spawn(process.execPath, ['main/cli/main.ts', 'serve', '--port', '0', '--no-open', '--home', home], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((done) => child.once('exit', () => done()));
  const url = await new Promise<string>((found, lost) => {
    createInterface(child.stdout).on('line', (line) => {
      const [address] = /http:\/\/127\.0\.0\.1:\S+/.exec(line) ?? [];
      if (address) found(address);
    });
    child.once('exit', (code) => lost(new Error(`fettle serve ended with ${code} before it said where it is`)));
  });
  return {
    url,
    folder,
    at: (hash) => new URL(`/${hash}`, url).href,
    command: (...args) =>
      void execFileSync(process.execPath, ['main/cli/main.ts', ...args, '--home', home], { cwd: root }),
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
    async stop() {
      child.kill('SIGINT');
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export const test = base.extend<
  { complaints: string[]; another: (left?: string) => Promise<Host> },
  { suite: string; host: Host }
>({
  /** Each file names its own: where it differs, Playwright starts another worker, and with it another host. */
  suite: ['', { option: true, scope: 'worker' }],
  host: [
    // Playwright reads what a fixture needs from this pattern: nothing.
    async ({}, use) => {
      const host = await startHost();
      await use(host);
      await host.stop();
    },
    { scope: 'worker' },
  ],
  /** Starts hosts beside the file's own; they end with the test, whatever becomes of it. */
  // Playwright reads what a fixture needs from this pattern: nothing.
  another: async ({}, use) => {
    const hosts: Host[] = [];
    await use(async (left) => {
      const host = await startHost(left);
      hosts.push(host);
      return host;
    });
    for (const host of hosts) await host.stop();
  },
  /** What the browser's console complained of; a test that expects none of it fails on any. */
  complaints: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
      });
      await use(complaints);
      expect(complaints).toEqual([]);
    },
    { auto: true },
  ],
});
export { expect };

/** Opens a page of the workbench and waits for its title. */
export async function open(page: Page, host: Host, hash: string, title: string | RegExp): Promise<void> {
  if (page.url() === 'about:blank') await page.goto(host.url);
  await page.goto(host.at(hash));
  await expect(page.getByRole('heading', { level: 1, name: title })).toBeVisible();
}

/** Picks a path in the workbench's own file dialog. */
export async function pick(page: Page, path: string, verb: string): Promise<void> {
  await page.getByLabel('Or write the path').fill(path);
  await page.getByRole('button', { name: verb }).click();
}

/** WCAG 2.2 A and AA, as far as axe can tell, in light and dark. */
export async function expectAccessible(page: Page): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const { violations } = await new AxeBuilder({ page })
      .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'])
      .analyze();
    expect(
      violations.map(({ id, nodes }) => `${colorScheme} ${id}: ${nodes.map((node) => node.html).join(' ')}`),
    ).toEqual([]);
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

/** Steps that the loss curve holds, from the words it has for those who do not see it. */
export async function stepsDrawn(page: Page): Promise<number> {
  const label = await page.getByRole('img', { name: /^Loss over/ }).getAttribute('aria-label');
  return Number(/over ([\d,]+) steps/.exec(label ?? '')?.[1]?.replaceAll(',', '') ?? 0);
}

/** Starts a run that lasts, with a look at unseen rows, and so a checkpoint, every ten steps. */
export async function startLongRun(page: Page): Promise<void> {
  await page.getByRole('button', { name: /Expert settings/ }).click();
  for (const [label, value] of [
    ['How often it reads the data', '100'],
    ['Looks without gain before it stops', '90'],
    ['Steps between looks at unseen rows', '10'],
  ] as const) {
    await page.getByLabel(label).fill(value);
    await page.getByLabel(label).press('Tab');
  }
  await expect(page.getByRole('button', { name: 'Back to advised, 3 changes' })).toBeVisible();
  await page.getByRole('button', { name: 'Start training' }).click();
  await expect(page.getByRole('heading', { level: 1, name: /^Run \d+$/ })).toBeVisible();
}
