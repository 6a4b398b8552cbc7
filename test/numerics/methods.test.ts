/** @file Each method of training against peft and PyTorch on tiny models: logits, gradients, optimiser steps, cached generation. Made anew by oracle/methods.py. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe } from 'vitest';
import { found, need } from '../support/needs.ts';
import { runOracle } from '../support/oracle.ts';
import { parityChecks } from '../support/parity-checks.ts';
import { METHODS } from '../support/parity.ts';

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

describe.each(METHODS)('%s', (method) =>
  parityChecks('method', (test) => {
    makeAll(need(test, 'oracle', found.python));
    return join(made, method);
  }),
);
