/** @file The same workbench in its own window, where Electron's binary is there. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { _electron, expect, test } from '@playwright/test';
import { electronBinary } from '../../scripts/electron.ts';
import { ALLOWED_SKIPS } from '../support/needs.ts';

const root = resolve(import.meta.dirname, '../..');
const binary = electronBinary();

test('opens on an empty home, with no way from the page to Node', async () => {
  test.skip(binary === null, ALLOWED_SKIPS['electron-binary']);
  for (const mode of ['production', 'preload'])
    execFileSync('node_modules/.bin/vite', ['build', '--config', 'vite.electron.config.ts', '--mode', mode], {
      cwd: root,
    });
  const home = mkdtempSync(join(tmpdir(), 'fettle-electron-'));
  const app = await _electron.launch({
    executablePath: binary!,
    args: [root, '--no-sandbox'],
    env: { ...(process.env as Record<string, string>), FETTLE_HOME: home },
  });
  try {
    const page = await app.firstWindow();
    await expect(page.getByRole('heading', { level: 1, name: 'Start with your files' })).toBeVisible();
    expect(page.url()).toMatch(/^app:\/\/fettle\//);
    expect(await page.evaluate(() => typeof Reflect.get(globalThis, 'require'))).toBe('undefined');
  } finally {
    await app.close();
    rmSync(home, { recursive: true, force: true });
  }
});
