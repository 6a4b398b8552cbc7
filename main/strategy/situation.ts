/** @file What the advice is made from: the answers, what was measured in the data, and the model. Measuring the data is here too. */
import type { Answers, BaseMeasure, Dataset, Model, ProseMeasure } from '../contract/entities.ts';
import type { StoredRow } from '../datasets/rows.ts';
import type { ProseEvidence } from './prose.ts';
import { TOKENS_PER_WORD } from './thresholds.ts';

export interface PairEvidence {
  /** Pairs or conversations after cleaning. */
  readonly rows: number;
  /** Rows left when those that differ only in case, digits or punctuation count once. */
  readonly different: number;
  /** Distinct openings (first four words of the question) a row: 1 where none begins like another. */
  readonly variety: number;
  readonly heldOut: number;
}

export interface Situation {
  readonly answers: Answers;
  readonly pairs: PairEvidence | null;
  /** Estimated from words. */
  readonly proseTokens: number;
  /** How varied that prose is; null where there is none. */
  readonly prose: ProseEvidence | null;
  /** Share of the rows read that were dropped or duplicates, 0 to 1. */
  readonly noise: number;
  readonly model: Pick<Model, 'name' | 'kind' | 'hasChatTemplate'> | null;
  /** What that model already does on the held-out examples; null where nobody has measured it. */
  readonly measured: BaseMeasure | null;
  /** The same model's loss on held-out prose. */
  readonly measuredProse: ProseMeasure | null;
  /** Imports of the same kind that are not counted, since a run learns from one version: what is counted, and what is not. */
  readonly aside?: readonly { readonly counted: string; readonly left: readonly string[] }[];
}

/** Imports beside the one that is counted: none of the versions that it was made from, nor any that a later one was made from. */
export function asideOf(
  all: readonly Pick<Dataset, 'id' | 'name' | 'parent'>[],
  counted: Pick<Dataset, 'id' | 'name'> | undefined,
): NonNullable<Situation['aside']> {
  if (!counted) return [];
  const parents = new Set(all.map((each) => each.parent));
  const left = all.filter((each) => each.id !== counted.id && !parents.has(each.id)).map((each) => each.name);
  return left.length > 0 ? [{ counted: counted.name, left }] : [];
}

/** Tokens of prose with repeated passages counted once: what is read again teaches little more. */
export const freshProse = ({ proseTokens, prose }: Pick<Situation, 'proseTokens' | 'prose'>): number =>
  Math.round(proseTokens * (1 - (prose?.repeated ?? 0)));

const plain = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^\p{L}\s]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim();

/** So many pairs are looked at; of more, the figures are scaled to all. */
const LOOKED_AT = 50_000;

/** @param total rows in all, and of them those held out, where there are more than are looked at. */
export async function measurePairs(
  rows: AsyncIterable<StoredRow>,
  total?: Pick<Dataset, 'rows' | 'heldOutRows'>,
): Promise<PairEvidence> {
  const whole = new Set<string>();
  const openings = new Set<string>();
  let count = 0;
  let heldOut = 0;
  for await (const row of rows) {
    const turns = row.messages ?? [];
    const question = plain(turns.find((turn) => turn.role === 'user')?.content ?? '');
    whole.add(`${question}\n${plain(turns.findLast((turn) => turn.role === 'assistant')?.content ?? '')}`);
    openings.add(question.split(' ', 4).join(' '));
    count += 1;
    if (row.split === 'held-out') heldOut += 1;
    if (count === LOOKED_AT) break;
  }
  const scale = total && total.rows > count ? total.rows / count : 1;
  return {
    rows: total?.rows ?? count,
    different: Math.round(whole.size * scale),
    variety: count === 0 ? 0 : openings.size / count,
    heldOut: total?.heldOutRows ?? heldOut,
  };
}

/** Share of what was read that was dropped, duplicates included. */
export function noiseOf(datasets: readonly Pick<Dataset, 'rows' | 'dropped'>[]): number {
  const kept = datasets.reduce((sum, each) => sum + each.rows, 0);
  const lost = datasets.reduce((sum, each) => sum + each.dropped.reduce((all, { count }) => all + count, 0), 0);
  return kept + lost === 0 ? 0 : lost / (kept + lost);
}

export const proseTokensOf = (words: number): number => Math.round(words * TOKENS_PER_WORD);
