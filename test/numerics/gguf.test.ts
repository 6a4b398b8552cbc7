/** @file The starter model's GGUF file against what transformers reads from it: config and every weight, bit for bit. oracle/gguf_weights.py makes the fixture. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openGguf } from '../../main/formats/gguf/index.ts';
import { found, need } from '../support/needs.ts';
import { runOracle } from '../support/oracle.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/gguf');

describe('GGUF', () => {
  it('gives the config and the weights that transformers reads', async (test) => {
    const starter = need(test, 'starter', found.starter);
    const wanted = JSON.parse(readFileSync(join(FIXTURES, 'smollm2-weights.json'), 'utf8')) as {
      readonly config: object;
      readonly weights: Readonly<Record<string, { readonly shape: readonly number[]; readonly sha256: string }>>;
    };
    const { config, weights, close } = await openGguf(starter);
    try {
      expect(config).toMatchObject(wanted.config);
      expect([...weights.names].sort()).toEqual(Object.keys(wanted.weights).sort());
      for (const [name, { shape, sha256 }] of Object.entries(wanted.weights)) {
        expect(weights.info(name).shape, name).toEqual(shape);
        const numbers = await weights.read(name);
        expect(createHash('sha256').update(numbers).digest('hex'), name).toBe(sha256);
      }
    } finally {
      await close();
    }
  });

  it('is checked against fixtures that the oracles still give', (test) => {
    const python = need(test, 'oracle', found.python);
    const starter = need(test, 'starter', found.starter);
    const folder = mkdtempSync(join(tmpdir(), 'fettle-gguf-'));
    try {
      runOracle(python, 'gguf_blocks.py', [join(folder, 'blocks.gguf')]);
      expect(readFileSync(join(folder, 'blocks.gguf')).equals(readFileSync(join(FIXTURES, 'blocks.gguf')))).toBe(true);
      runOracle(python, 'gguf_weights.py', [starter, join(folder, 'weights.json')]);
      expect(readFileSync(join(folder, 'weights.json'), 'utf8')).toBe(
        readFileSync(join(FIXTURES, 'smollm2-weights.json'), 'utf8'),
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
