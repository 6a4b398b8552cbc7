/** @file Builds the desktop shell into dist/electron: the main process and the workers as modules; with `--mode preload` the preload script, which the sandbox wants as CommonJS. */
import { defineConfig, type UserConfig } from 'vite';

const ENTRIES = [
  'train',
  'generate',
  'model',
  'data',
  'compare',
  'export',
  'measure',
  'pilot',
  'curve',
  'answer',
  'adapter',
  'speeds',
  'devices',
];

const shared = { outDir: 'dist/electron', ssr: true, target: 'node24', minify: false } as const;

export default defineConfig(({ mode }): UserConfig => {
  if (mode === 'preload')
    return {
      build: {
        ...shared,
        emptyOutDir: false,
        rolldownOptions: {
          input: { preload: 'preload/index.ts' },
          external: ['electron'],
          output: { format: 'cjs', entryFileNames: '[name].cjs' },
        },
      },
    };
  return {
    build: {
      ...shared,
      emptyOutDir: true,
      rolldownOptions: {
        input: {
          main: 'main/hosts/electron/main.ts',
          ...Object.fromEntries(ENTRIES.map((name) => [`workers/${name}`, `main/workers/${name}.ts`])),
        },
        external: ['electron'],
        output: { entryFileNames: '[name].js', chunkFileNames: 'shared/[name]-[hash].js' },
      },
    },
  };
});
