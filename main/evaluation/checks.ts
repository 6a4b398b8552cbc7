/** @file How an answer is judged against the expected one: 1 is right, 0 is wrong, and for words shared what lies between. Pure. */
import { z } from 'zod';
import type { Check } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { exactMatch, spaced, tokenF1 } from './grade.ts';
import { rougeL, rougeReads } from './rouge.ts';

export interface Judged {
  /** 0 to 1. */
  readonly score: number;
  /** What the check saw, in a few words. */
  readonly why: string;
}

const yes = (right: boolean, why: string): Judged => ({ score: Number(right), why });

/** @throws INPUT_INVALID for a pattern that is no regular expression, or a schema that cannot be read */
export function judge(check: Check, answer: string, expected: string): Judged {
  switch (check.kind) {
    case 'exact':
      return yes(exactMatch(answer, expected), 'compared without case, punctuation and articles');
    case 'contains': {
      const wanted = ownText(check) ?? expected;
      if (fold(wanted) === '') return yes(false, NOTHING);
      return yes(fold(answer).includes(fold(wanted)), `looked for ${JSON.stringify(short(wanted))}`);
    }
    case 'number': {
      const [said, wanted] = [lastNumber(answer), lastNumber(expected)];
      const right = said !== null && wanted !== null && Math.abs(said - wanted) <= 1e-6 * Math.max(1, Math.abs(wanted));
      return yes(right, `${said ?? 'no number'} for ${wanted ?? 'no number'}`);
    }
    case 'choice': {
      const wanted = words(fold(expected));
      if (wanted.length === 0) return yes(false, NOTHING);
      // Whole words: "yesterday" is no "yes".
      const said = words(fold(answer));
      return yes(
        wanted.every((word, i) => word === said[i]),
        'compared where the answer begins',
      );
    }
    case 'json':
      return judgeJson(answer, check.text ?? '');
    case 'length': {
      const count = words(spaced(answer)).length;
      return yes(count >= (check.least ?? 0) && count <= (check.most ?? Infinity), `${count} words`);
    }
    case 'pattern':
      return yes(patternOf(check.text ?? '').test(answer), `looked for /${check.text ?? ''}/`);
    case 'f1': {
      const score = tokenF1(answer, expected);
      return { score, why: `${Math.round(100 * score)}% of the words shared` };
    }
    case 'rouge-l': {
      const score = rougeL(answer, expected);
      return { score, why: `${Math.round(100 * score)}% in the same order` };
    }
  }
}

/** Null where the check names none, and what was expected is looked for. */
const ownText = ({ text }: Check): string | null => (text === undefined || fold(text) === '' ? null : text);

const NOTHING = 'nothing was expected';
const fold = (text: string): string => text.normalize('NFC').toLowerCase().replace(/\s+/g, ' ').trim();
const words = (text: string): string[] => text.split(/[^\p{L}\p{N}\p{M}]+/u).filter((word) => word !== '');
const short = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

/** "1,234.5" and "−3" among words; the last one is the answer, as it is where people show their working. */
export function lastNumber(text: string): number | null {
  const found = text.replace(/[−–](?=\d)/g, '-').match(/-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?/g);
  return found ? Number(found.at(-1)!.replaceAll(',', '')) : null;
}

/** JSON as models write it: alone, or in a fence. */
function parsed(text: string): unknown {
  const inner = /```(?:json)?\s*([\s\S]*?)```/.exec(text)?.[1] ?? text;
  try {
    return JSON.parse(inner.trim()) as unknown;
  } catch {
    return undefined;
  }
}

function judgeJson(answer: string, schema: string): Judged {
  const found = parsed(answer);
  if (found === undefined) return yes(false, 'no JSON');
  if (schema.trim() === '') return yes(true, 'read as JSON');
  const fits = schemaOf(schema).safeParse(found);
  const [first] = fits.error?.issues ?? [];
  return yes(
    fits.success,
    first ? short(`${first.path.join('.') || 'as a whole'}: ${first.message}`) : 'fits the schema',
  );
}

const schemas = new Map<string, z.ZodType>();
function schemaOf(text: string): z.ZodType {
  const known = schemas.get(text);
  if (known) return known;
  try {
    const made = z.fromJSONSchema(JSON.parse(text) as Parameters<typeof z.fromJSONSchema>[0]);
    schemas.set(text, made);
    return made;
  } catch (error) {
    throw new FettleError(
      'INPUT_INVALID',
      `The JSON schema cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      'Mend the schema, or leave it out: then any valid JSON is right.',
    );
  }
}

function patternOf(source: string): RegExp {
  try {
    return new RegExp(source, 'iu');
  } catch {
    throw new FettleError('INPUT_INVALID', `${JSON.stringify(source)} is no regular expression.`, 'Mend the pattern.');
  }
}

/** The check that fits what was expected: numbers, JSON, one of a few answers, else the words that are shared. */
export function suggestCheck(expected: readonly string[]): Check {
  const share = (fits: (text: string) => boolean): number =>
    expected.filter(fits).length / Math.max(1, expected.length);
  if (share((text) => parsed(text) !== undefined && /^[[{]/.test(text.trim())) > 0.9) return { kind: 'json' };
  const few = new Set(expected.map(fold));
  if (expected.length >= 10 && !few.has('') && few.size <= Math.max(2, expected.length / 5)) return { kind: 'choice' };
  if (share((text) => /(?:^|[\s#=:$€£])-?[\d,]+(?:\.\d+)?\s*[.%]?\s*$/.test(text)) > 0.9) return { kind: 'number' };
  if (share((text) => lengthOf(text) <= 4) > 0.9) return { kind: 'exact' };
  return { kind: share((text) => !rougeReads(text)) > 0.5 ? 'f1' : 'rouge-l' };
}

/** In words; where no spaces part them, two signs are about one word. */
function lengthOf(text: string): number {
  const [parted, signs] = [words(text).length, words(spaced(text)).length];
  return parted === signs ? parted : signs / 2;
}

const WANT_THE_ANSWER: ReadonlySet<Check['kind']> = new Set(['exact', 'number', 'choice']);

/** What a check cannot judge in these data shows before any model is asked. @throws INPUT_INVALID */
export function refuseUnfit(
  checks: readonly Check[],
  expected: readonly string[],
  { prose = false }: { readonly prose?: boolean } = {},
): void {
  for (const check of checks) {
    const { kind } = check;
    if (prose && (WANT_THE_ANSWER.has(kind) || (kind === 'contains' && ownText(check) === null)))
      throw new FettleError(
        'INPUT_INVALID',
        `The check “${kind}” looks for one right answer, and these data are documents: what is asked is to go on from their first words, and no way to go on is the only right one.`,
        'Take a check of the words shared (f1, rouge-l), of the length, of a pattern, or of words that must be in it; or measure on questions with answers.',
      );
    const looksFor = kind === 'choice' || (kind === 'contains' && ownText(check) === null);
    const empty = expected.filter((each) => (kind === 'choice' ? words(each).length === 0 : fold(each) === '')).length;
    if (looksFor && empty > 0)
      throw new FettleError(
        'INPUT_INVALID',
        `The check “${kind}” needs an expected answer, and ${empty} of ${expected.length} questions have none.`,
        'Take another check, or measure on data whose rows all have an answer.',
      );
    if (kind === 'rouge-l' && expected.filter((each) => !rougeReads(each)).length > expected.length / 2)
      throw new FettleError(
        'INPUT_INVALID',
        'ROUGE-L reads Latin letters and digits only, and most expected answers are written in others: every answer would score 0.',
        'Take the check f1, which reads every script.',
      );
  }
}

/** What is wrong with a check shows before anything is measured. @throws INPUT_INVALID */
export function validate(check: Check): void {
  judge(check, check.kind === 'json' ? '{}' : '', '');
  if (check.kind === 'length' && check.least === undefined && check.most === undefined)
    throw new FettleError(
      'INPUT_INVALID',
      'The check of the length names no length.',
      'Say how many words at least, at most, or both.',
    );
  if (check.kind === 'length' && (check.least ?? 0) > (check.most ?? Infinity))
    throw new FettleError(
      'INPUT_INVALID',
      `No answer has at least ${check.least} and at most ${check.most} words.`,
      'Turn them round.',
    );
  if (check.kind === 'pattern' && !check.text)
    throw new FettleError(
      'INPUT_INVALID',
      'The check of the pattern names no pattern.',
      'Write the regular expression that must be found.',
    );
}
