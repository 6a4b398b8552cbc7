/** @file Results as they were kept by earlier versions of Fettle, and by later ones. */
import { ComparisonResult, type ComparedModel, type Measured } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { DECODING } from './suites.ts';

const VERSION = 2;

/** @throws RESULT_NEWER */
export function readResult(stored: string): ComparisonResult {
  const found = JSON.parse(stored) as { readonly version?: number };
  const version = found.version ?? 1;
  if (version > VERSION)
    throw new FettleError(
      'RESULT_NEWER',
      `This comparison was kept by a newer Fettle (form ${version}; this one reads ${VERSION}).`,
      'Look at it with the newer Fettle, or compare again. Nothing was changed.',
    );
  return ComparisonResult.parse(withTextVerdicts(withRows(version === 1 ? fromFirst(found as First) : found)));
}

/** Once single rows, their greatest length and the stages below were not kept, and nobody looked for rows that were learned from. */
function withRows(result: object): object {
  const { models = [] } = result as { readonly models?: readonly object[] };
  return {
    learned: null,
    maxLength: null,
    rows: [],
    ...result,
    models: models.map((model) => ({ under: [], ...model })),
  };
}

interface WithText {
  readonly scorecard?: {
    readonly prose: { readonly differences?: readonly Measured[]; readonly verdicts?: unknown } | null;
  } | null;
}

/** Once the verdict on other text was not kept: it was read off the margin alone, and its sentence was written by that. */
function withTextVerdicts(result: object): object {
  const { scorecard } = result as WithText;
  const prose = scorecard?.prose;
  if (!prose || prose.verdicts) return result;
  const verdicts = (prose.differences ?? []).map(({ low, high }) =>
    high < 0 ? 'better' : low > 0 ? 'worse' : 'no-difference',
  );
  return { ...result, scorecard: { ...scorecard, prose: { ...prose, verdicts } } };
}

/** What the first form held and the second holds otherwise. */
interface First {
  readonly heldOutRows: number;
  readonly losses: readonly { readonly target: string; readonly label: string }[];
  readonly scorecard?: {
    readonly goal: { readonly check: unknown; readonly items: readonly unknown[] } | null;
    readonly general: { readonly count: number } | null;
    readonly prose: { readonly losses: readonly Measured[] } | null;
  } | null;
}

/** It named no model but by its label, one check, and no suite. */
function fromFirst(first: First): object {
  const { scorecard, losses } = first;
  const unnamed = { id: '', name: '', hash: '' };
  const models: ComparedModel[] = losses.map(({ target, label }) => ({
    target,
    label,
    model: unnamed,
    adapter: null,
    under: [],
    run: null,
  }));
  const { goal, general, prose } = scorecard ?? {};
  const suite = (name: string, items: number): unknown => ({ name, version: 'not kept', items });
  return {
    ...first,
    version: VERSION,
    models,
    suites: [
      suite('held-out', first.heldOutRows),
      ...(goal ? [suite('task', goal.items.length)] : []),
      ...(general ? [suite('general', general.count)] : []),
      ...(prose ? [suite('prose', 8)] : []),
    ],
    decoding: DECODING,
    answers: {},
    scorecard: scorecard
      ? {
          ...scorecard,
          goal: goal ? { ...goal, checks: [goal] } : null,
          prose: prose ? { ...prose, domains: [] } : null,
        }
      : null,
  };
}
