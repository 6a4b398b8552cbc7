/** @file Builds the workbench into dist/renderer; paths are relative, so that it runs under http:// and app:// alike. */
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

/** `npx vite` shows the workbench of a host that runs elsewhere: its address, with the port it printed. */
const host = process.env['FETTLE_HOST'] ?? 'http://127.0.0.1:4680';

export default defineConfig({
  root: 'renderer',
  base: './',
  plugins: [svelte({ configFile: '../svelte.config.js' })],
  build: { outDir: '../dist/renderer', emptyOutDir: true, target: 'es2023', assetsInlineLimit: 0 },
  server: { proxy: { '/ws': { target: host, ws: true }, '/upload': host } },
});
