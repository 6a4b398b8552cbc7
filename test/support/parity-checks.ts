/** @file The measures of parity.ts as tests: the same four, whatever the oracle trained. */
import { afterAll, expect, it } from 'vitest';
import { openParity, TOLERANCE, type ParityCase } from './parity.ts';

interface Skippable {
  skip(note?: string): void;
}
const LOGITS = {
  architecture: 'gives the same logits, without and with an adapter',
  method: 'gives the same logits, merged into the base too',
} as const;

/**
 * Tests of one model. Each opens it afresh: steps change what is trained.
 * @param folderOf where the oracle put it.
 * @param about what must hold of it before anything is measured.
 */
export function parityChecks(
  kind: keyof typeof LOGITS,
  folderOf: (test: Skippable) => string,
  about: (made: ParityCase) => void = () => undefined,
): void {
  const opened: ParityCase[] = [];
  afterAll(async () => {
    for (const each of opened) await each.release();
  });
  const open = async (test: Skippable): Promise<ParityCase> => {
    const made = await openParity(folderOf(test), kind);
    opened.push(made);
    about(made);
    return made;
  };

  it(LOGITS[kind], async (test) => {
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
}
