/** @file A project as a path: which of its six steps are done, which one is next. Derived from the tables at every call, never stored. */
import type { PathStep } from '../contract/entities.ts';
import type { Way } from '../contract/recipe.ts';

/** What the path is derived from. */
export interface PathFacts {
  readonly answers: number;
  readonly questions: number;
  readonly choice: Way | null;
  readonly pairs: number;
  readonly documents: number;
  readonly model: string | null;
  readonly runs: number;
  readonly finishedRuns: number;
  /** The run at work now. */
  readonly running: { readonly number: number; readonly share: number | null } | null;
  readonly comparisons: number;
  readonly exports: number;
}

const CHOSEN: Readonly<Record<Way, string>> = {
  instruct: 'Instruct tuning',
  'non-instruct': 'Non-instruct tuning',
  staged: 'Both, in stages',
};

const count = (n: number, one: string, many = `${one}s`): string => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

/** The steps in order and one sentence on what to do next. */
export function derivePath(facts: PathFacts): { path: PathStep[]; next: string } {
  const data = [
    ...(facts.pairs > 0 ? [count(facts.pairs, 'pair')] : []),
    ...(facts.documents > 0 ? [count(facts.documents, 'document')] : []),
  ];
  const done: Record<PathStep['id'], boolean> = {
    goal: facts.choice !== null,
    data: data.length > 0,
    model: facts.model !== null,
    tune: facts.finishedRuns > 0,
    compare: facts.comparisons > 0,
    export: facts.exports > 0,
  };
  const notes: Record<PathStep['id'], string> = {
    goal: facts.choice
      ? CHOSEN[facts.choice]
      : facts.answers > 0
        ? `${facts.answers} of ${facts.questions} answered`
        : 'Not chosen yet',
    data: data.length > 0 ? data.join(', ') : 'Nothing brought in',
    model: facts.model ?? 'Not chosen',
    tune: facts.running
      ? `Training${facts.running.share === null ? '' : `, ${Math.round(facts.running.share * 100)}%`}`
      : facts.runs > 0
        ? count(facts.runs, 'run')
        : 'Not yet',
    compare: facts.comparisons > 0 ? count(facts.comparisons, 'comparison') : 'Not yet',
    export: facts.exports > 0 ? count(facts.exports, 'export') : 'Not yet',
  };
  const order = ['goal', 'data', 'model', 'tune', 'compare', 'export'] as const;
  // Data come first where neither is there: advice rests on them.
  const first = !done.data ? 'data' : order.find((id) => !done[id]);
  const path = order.map((id) => ({
    id,
    state:
      id === 'tune' && facts.running
        ? ('running' as const)
        : done[id]
          ? ('done' as const)
          : id === first
            ? ('current' as const)
            : ('open' as const),
    note: notes[id],
  }));
  // A run that was begun and has not ended stands still: paused, interrupted or failed.
  const begun = first === 'tune' && facts.runs > 0;
  const next = begun ? 'Go on with the run that was begun, or start another' : NEXT[first ?? 'nothing'];
  return { path, next: facts.running ? `Run ${facts.running.number} is training` : next };
}

const NEXT = {
  goal: 'Answer a few questions and take the advice',
  data: 'Bring examples or documents',
  model: 'Choose a base model',
  tune: 'Start the first run',
  compare: 'See what it gained and lost',
  export: 'Export the tuned model',
  nothing: 'Nothing to do',
} as const;
