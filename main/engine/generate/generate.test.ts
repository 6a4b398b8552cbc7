/** @file Sampling and generation with a decoder that says what it is told to. */
import { describe, expect, it } from 'vitest';
import type { Tokenizer } from '../../formats/model.ts';
import { Random } from '../random.ts';
import type { Decoder } from '../types.ts';
import { generate } from './generate.ts';
import { createSampler, GREEDY, type SamplingOptions } from './sampler.ts';

const bytes = new TextDecoder();
/** A token a byte. */
const tokenizer = {
  decode: (ids: readonly number[]) => bytes.decode(Uint8Array.from(ids)),
} as unknown as Tokenizer;
const saying = (text: string, maxTokens = 100): Decoder => {
  const script = [...new TextEncoder().encode(text), 0];
  let at = 0;
  const next = (): Promise<Float32Array> => {
    const logits = new Float32Array(256);
    logits[script[at++] ?? 0] = 1;
    return Promise.resolve(logits);
  };
  return { maxTokens, prefill: next, step: next, release: () => Promise.resolve() };
};
const ask = (decoder: Decoder, more: object = {}) =>
  generate({ decoder, tokenizer, ids: [1], stopIds: [0], maxTokens: 50, ...more });

describe('generation', () => {
  it('ends at a stop token, which is no part of the text', async () => {
    expect(await ask(saying('Hello'))).toMatchObject({ text: 'Hello', reason: 'stop' });
  });

  it('tells pieces that make up the text, never half a character', async () => {
    const pieces: string[] = [];
    const { text } = await ask(saying('é 🚲!'), { onPiece: (piece: string) => pieces.push(piece) });
    expect(pieces).toEqual(['é', ' ', '🚲', '!']);
    expect(pieces.join('')).toBe(text);
  });

  it('ends where a stop text begins, and tells nothing of it before', async () => {
    const pieces: string[] = [];
    const onPiece = (piece: string): void => void pieces.push(piece);
    const { text, reason } = await ask(saying('One. Two\n\nYou: no'), { stopTexts: ['You:', '\n\nY'], onPiece });
    expect([text, reason]).toEqual(['One. Two', 'stop']);
    expect(pieces.join('')).toBe('One. Two');
    // What only looked like the beginning of one is told after all.
    pieces.length = 0;
    await ask(saying('a\nb Yo'), { stopTexts: ['\n\n', 'You:'], onPiece });
    expect(pieces.join('')).toBe('a\nb Yo');
  });

  it('refuses a prompt that is longer than the model reads, with both figures', async () => {
    await expect(ask(saying('Hello', 3), { ids: [1, 2, 3, 4] })).rejects.toMatchObject({
      code: 'PROMPT_TOO_LONG',
      message: expect.stringMatching(/4 tokens long.* reads 3/) as unknown,
    });
  });

  it('ends after so many tokens, at the end of the context, and when it is told to', async () => {
    expect(await ask(saying('Hello'), { maxTokens: 2 })).toMatchObject({ text: 'He', reason: 'length' });
    expect(await ask(saying('Hello', 4))).toMatchObject({ text: 'Hel', reason: 'length' });
    expect(await ask(saying('Hello'), { signal: AbortSignal.abort() })).toMatchObject({ text: '', reason: 'aborted' });
  });
});

describe('sampling', () => {
  const logits = (): Float32Array => Float32Array.from([1, 3, 2, -1]);
  const drawn = (options: object): Set<number> => {
    const sample = createSampler({ ...GREEDY, temperature: 1, ...options });
    return new Set(Array.from({ length: 500 }, () => sample(logits(), [])));
  };

  it('is greedy at temperature 0, and the first of equals wins', () => {
    expect(createSampler(GREEDY)(logits(), [])).toBe(1);
    expect(createSampler(GREEDY)(Float32Array.of(2, 2), [])).toBe(0);
  });

  it('keeps the likeliest by number and by sum', () => {
    expect([...drawn({ topK: 2 })].sort()).toEqual([1, 2]);
    // softmax of 1, 3, 2, -1 is 0.09, 0.66, 0.24, 0.01.
    expect([...drawn({ topP: 0.6 })]).toEqual([1]);
    expect([...drawn({ topP: 0.7 })].sort()).toEqual([1, 2]);
    expect(drawn({}).size).toBe(4);
  });

  it('draws each token as often as its probability says', () => {
    const sample = createSampler({ ...GREEDY, temperature: 1, seed: 5 });
    const count = 20_000;
    let hits = 0;
    for (let i = 0; i < count; i++) if (sample(logits(), []) === 1) hits++;
    expect(hits / count).toBeCloseTo(Math.exp(3) / [1, 3, 2, -1].reduce((sum, x) => sum + Math.exp(x), 0), 1);
  });

  it('lets the same seed choose the same, and makes repetition less likely', () => {
    const run = (seed: number): number[] => {
      const sample = createSampler({ ...GREEDY, temperature: 1, seed });
      return Array.from({ length: 20 }, () => sample(logits(), []));
    };
    expect(run(1)).toEqual(run(1));
    expect(run(1)).not.toEqual(run(2));
    expect(createSampler({ ...GREEDY, repetitionPenalty: 2 })(logits(), [1])).toBe(2);
  });

  /** Everything sorted and added up in order. */
  const plainly = ({ temperature, topP, topK }: SamplingOptions, random: Random, logits: Float32Array): number => {
    const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
    const kept = topK > 0 ? order.slice(0, topK) : order;
    const weights = kept.map((id) => Math.exp((logits[id]! - logits[kept[0]!]!) / temperature));
    const total = weights.reduce((a, b) => a + b, 0);
    let [sum, count] = [0, 0];
    while (count < weights.length && (count === 0 || sum / total < topP)) sum += weights[count++]!;
    let left = random.next() * sum;
    for (let i = 0; i < count; i++) if ((left -= weights[i]!) < 0) return kept[i]!;
    return kept[count - 1]!;
  };

  it.each([
    { temperature: 0.7, topP: 0.9, topK: 0 },
    { temperature: 1.3, topP: 0.95, topK: 40 },
    { temperature: 1, topP: 1, topK: 7 },
    { temperature: 1, topP: 1, topK: 0 },
    { temperature: 0.2, topP: 0.5, topK: 5000 },
    { temperature: 2, topP: 1e-9, topK: 0 },
  ])('draws what sorting all tokens would: %o', (given) => {
    const options = { ...GREEDY, ...given, seed: 11 };
    const [source, random, sample] = [new Random(2), new Random(11), createSampler(options)];
    for (let i = 0; i < 200; i++) {
      // In steps, so that many are equal; some are ruled out.
      const row = Float32Array.from({ length: 700 }, () =>
        source.next() < 0.1 ? -Infinity : Math.round(8 * source.normal()) / 4,
      );
      expect(sample(row, [])).toBe(plainly(options, random, row));
    }
  });
});
