/** @file The workbench in Debian's chromium, against the web host; each file of tests has a host of its own with an empty home. Needs `npm run build`. */
import { defineConfig } from '@playwright/test';
import { found } from './test/support/needs.ts';

export default defineConfig({
  testDir: 'test/e2e',
  outputDir: 'test-results',
  // Training wants the machine: one test at a time.
  workers: 1,
  fullyParallel: false,
  forbidOnly: process.env.CI !== undefined,
  retries: 0,
  timeout: 180_000,
  expect: { timeout: 20_000 },
  reporter: 'list',
  use: {
    viewport: { width: 1440, height: 900 },
    actionTimeout: 20_000,
    screenshot: 'only-on-failure',
    trace: 'retain-on-failure',
    launchOptions: { args: ['--no-sandbox'], ...(found.chromium ? { executablePath: found.chromium } : {}) },
  },
});
