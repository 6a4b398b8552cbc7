/** @file Each method of training against peft and PyTorch on tiny models: logits, gradients, optimiser steps, cached generation. Made anew by oracle/methods.py. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { found, need } from '../support/needs.ts';
import { runOracle } from '../support/oracle.ts';
import { METHODS, openParity, TOLERANCE, type ParityCase } from '../support/parity.ts';

const made = mkdtempSync(join(tmpdir(), 'fettle-methods-'));
let ready: (() => void) | undefined;
/** All of them at once, by the first test that needs one; where that fails, it is not tried again. */
function makeAll(python: string): void {
  if (!ready)
    try {
      runOracle(python, 'methods.py', [made, ...METHODS]);
      ready = () => undefined;
    } catch (error) {
      ready = () => {
        throw error;
      };
    }
  ready();
}
afterAll(() => rmSync(made, { recursive: true, force: true }));

describe.each(METHODS)('%s', (method) => {
  const opened: ParityCase[] = [];
  afterAll(async () => {
    for (const each of opened) await each.release();
  });
  const open = async (test: { skip(note?: string): void }): Promise<ParityCase> => {
    makeAll(need(test, 'oracle', found.python));
    opened.push(await openParity(join(made, method), 'method'));
    return opened.at(-1)!;
  };

  it('gives the same logits, merged into the base too', async (test) => {
    expect(await (await open(test)).logits()).toBeLessThan(TOLERANCE.logits);
  });

  it('gives the same gradient for all that is trained', async (test) => {
    const { worst, name, loss } = await (await open(test)).gradients();
    expect(worst, name).toBeLessThan(TOLERANCE.gradient);
    expect(loss).toBeLessThan(TOLERANCE.loss);
  });

  it('takes the same 20 steps of AdamW', async (test) => {
    const { loss, norm } = await (await open(test)).steps();
    expect(loss).toBeLessThan(TOLERANCE.loss);
    expect(norm).toBeLessThan(TOLERANCE.gradient);
  });

  it('continues a prompt with the same tokens, through its cache', async (test) => {
    const { equal, of } = await (await open(test)).greedy();
    expect([equal, of]).toEqual([of, 24]);
  });
});
