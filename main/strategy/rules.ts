/** @file The rules of the advice: from a situation to one of four strategies. Read from the top, the first rule that fits decides. */
import type { AdviceStrategy, Answers } from '../contract/entities.ts';
import { aimOf } from './places.ts';
import { freshProse, type Situation } from './situation.ts';
import { THRESHOLDS as T } from './thresholds.ts';

/** What the rules look at. */
interface Seen {
  readonly answers: Answers;
  /** Different pairs. */
  readonly pairs: number;
  /** The model, as it is, answers like the examples. */
  readonly able: boolean;
  /** Tokens of prose, repeated passages counted once. */
  readonly prose: number;
  /** From a broad field (0) to one explicit task (1). */
  readonly aim: number;
}

interface Rule {
  readonly id: string;
  readonly when: (seen: Seen) => boolean;
  readonly strategy: AdviceStrategy;
  /** One sentence that completes “because”. */
  readonly why: string;
}

/**
 * Ordered so that more pairs never move the advice away from instruct: with everything else equal it goes only along
 * do-not-tune, non-instruct, staged, instruct. A property test keeps it so.
 */
export const RULES: readonly Rule[] = [
  {
    id: 'look-up',
    when: ({ answers }) => answers['change'] === 'often' && answers['cite'] === 'always',
    strategy: 'do-not-tune',
    why: 'the answers must follow facts that change and name their source: looking up (retrieval) does both, tuning does neither',
  },
  {
    id: 'changing-field',
    when: ({ answers }) => answers['task'] === 'field' && answers['change'] === 'often',
    strategy: 'do-not-tune',
    why: 'knowledge that changes every week would be out of date as soon as it is trained in',
  },
  {
    id: 'cited-field',
    when: ({ answers }) => answers['task'] === 'field' && answers['cite'] === 'always',
    strategy: 'do-not-tune',
    why: 'a tuned model cannot say where it read something, and you need that always',
  },
  {
    id: 'already-does',
    when: ({ able }) => able,
    strategy: 'do-not-tune',
    why: 'the model already answers like your examples: tuning could cost it other abilities and gain next to nothing',
  },
  {
    id: 'no-data',
    when: ({ pairs, prose }) => pairs === 0 && prose === 0,
    strategy: 'do-not-tune',
    why: 'there is nothing to learn from yet',
  },
  {
    id: 'no-aim',
    when: ({ answers }) =>
      answers['task'] === 'unsure' && (answers['flexibility'] === 'no' || answers['check'] === 'no'),
    strategy: 'do-not-tune',
    why: 'what it should do is not settled, and tuning without an aim costs abilities and cannot be judged: trying the model with prompts first shows what is missing',
  },
  {
    id: 'too-little',
    when: ({ pairs, prose }) => pairs < T.pairsFloor.value && prose < T.proseStyle.value,
    strategy: 'do-not-tune',
    why: 'so little data is better shown in the prompt, as examples, than trained',
  },
  {
    id: 'clear-without-examples',
    when: ({ pairs, aim }) => pairs < T.pairsFloor.value && aim >= T.clear.value,
    strategy: 'do-not-tune',
    why: 'the task is clear, but text alone does not show how it is done: finished examples do',
  },
  {
    id: 'reading',
    when: ({ pairs }) => pairs < T.pairsFloor.value,
    strategy: 'non-instruct',
    why: 'there is text to read and there are too few finished examples to imitate',
  },
  {
    id: 'field-first',
    when: ({ pairs, prose, aim }) => aim < T.broad.value && prose >= T.proseStyle.value && pairs < T.pairsUsable.value,
    strategy: 'non-instruct',
    why: 'you want the field rather than one task, and the text says more about it than the few examples',
  },
  {
    id: 'both',
    when: ({ prose }) => prose >= T.proseField.value,
    strategy: 'staged',
    why: 'there is enough text to learn the field from, and there are examples to learn the answers from afterwards',
  },
  {
    id: 'examples',
    when: () => true,
    strategy: 'instruct',
    why: 'there are finished examples of what you want, and they show it better than any text',
  },
];

/** By its graded answers; the lower end of the margin counts, so that luck is no proof. */
export const isAble = ({ measured }: Pick<Situation, 'measured'>): boolean =>
  measured !== null &&
  measured.f1 !== null &&
  measured.answers.length >= T.graded.value &&
  measured.f1.low >= T.alreadyDoes.value;

export interface Decision {
  readonly strategy: AdviceStrategy;
  readonly rule: string;
  readonly why: string;
}

export function decide(situation: Situation): Decision {
  const seen: Seen = {
    answers: situation.answers,
    pairs: situation.pairs?.different ?? 0,
    prose: freshProse(situation),
    aim: aimOf(situation.answers),
    able: isAble(situation),
  };
  const rule = RULES.find((each) => each.when(seen));
  if (!rule) throw new Error('The last rule fits everything.');
  return { strategy: rule.strategy, rule: rule.id, why: rule.why };
}
