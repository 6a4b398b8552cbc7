/** @file Rehearsal: general data of Fettle's own, mixed in so that a model practises what it should not unlearn (Ibrahim et al. 2024). */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Recipe } from '../contract/recipe.ts';
import { resource } from '../core/resources.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import { Random } from '../engine/index.ts';
import { fitExamples } from '../engine/train/packing.ts';
import type { Example } from '../engine/types.ts';

const folder = (): string => resource('rehearsal');
const Pair = z.object({ instruction: z.string(), response: z.string() });

/**
 * Everything there is, in a fixed order: conversations for a model that has a chat template of its own, whose skill is
 * to answer; prose for one that has none.
 */
export async function generalExamples(text: TextModel, conversations: boolean): Promise<Example[]> {
  const row = { index: 0, split: 'train', source: '' } as const;
  if (!conversations) {
    const prose = join(folder(), 'prose');
    const names = (await readdir(prose)).filter((name) => name.endsWith('.md')).sort();
    const texts = await Promise.all(names.map((name) => readFile(join(prose, name), 'utf8')));
    return texts.map((document) => exampleOf({ ...row, text: document.trim() }, text));
  }
  const lines = (await readFile(join(folder(), 'instructions.jsonl'), 'utf8'))
    .split('\n')
    .filter((line) => line !== '');
  return lines.map((line) => {
    const { instruction, response } = Pair.parse(JSON.parse(line));
    const messages = [
      { role: 'user', content: instruction },
      { role: 'assistant', content: response },
    ] as const;
    return exampleOf({ ...row, messages }, text);
  });
}

const tokensOf = (examples: readonly Example[]): number =>
  examples.reduce((sum, example) => sum + example.ids.length, 0);

/**
 * Those of the general examples that make up the recipe's share of the training tokens, beside the run's own. The same
 * seed picks the same; where they are too few, each is taken several times. Own examples count as training cuts them.
 */
export function rehearse(
  own: readonly Example[],
  general: readonly Example[],
  { rehearsal, seed, maxLength, strategy }: Pick<Recipe, 'rehearsal' | 'seed' | 'maxLength' | 'strategy'>,
): { readonly examples: Example[]; readonly tokens: number } {
  const pool = fitExamples(general, maxLength, 'split').examples;
  if (rehearsal === 0 || pool.length === 0) return { examples: [], tokens: 0 };
  const counted = fitExamples(own, maxLength, strategy === 'instruct' ? 'cut' : 'split').examples;
  const wanted = (tokensOf(counted) * rehearsal) / (1 - rehearsal);
  // Another stream than the one that shuffles the rows.
  const random = new Random(seed ^ 0x7e4ea45a);
  const examples: Example[] = [];
  let tokens = 0;
  let left: Example[] = [];
  for (;;) {
    if (left.length === 0) left = [...pool];
    const at = random.int(left.length);
    const next = left[at]!;
    left[at] = left.at(-1)!;
    left.pop();
    // To the nearest: not where the last one would overshoot by more than it falls short without it.
    if (tokens + next.ids.length - wanted > wanted - tokens) break;
    examples.push(next);
    tokens += next.ids.length;
  }
  return { examples, tokens };
}
