/** @file Unit tests beside the code, and the numerics and faults under test/. */
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [svelte()],
  resolve: { conditions: ['browser'] },
  test: {
    include: ['main/**/*.test.ts', 'renderer/**/*.test.ts', 'preload/**/*.test.ts', 'test/{numerics,faults}/**/*.test.ts'],
    // Native runtimes (SQLite, ONNX) want processes, not threads.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
