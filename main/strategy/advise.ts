/** @file The advice in full: the decision of the rules, put into words with its reasons, risk, second choice, gaps and contradictions. Deterministic. */
import type { Advice, AdviceStrategy } from '../contract/entities.ts';
import { axesOf } from './axes.ts';
import { about, count, firmness, tip } from './neighbours.ts';
import { QUESTIONS } from './questions.ts';
import { aimOf } from './places.ts';
import { decide, type Decision } from './rules.ts';
import { freshProse, type Situation } from './situation.ts';
import { THRESHOLDS as T, TOKENS_PER_WORD } from './thresholds.ts';

const TITLES: Readonly<Record<AdviceStrategy, string>> = {
  instruct: 'Instruct tuning',
  'non-instruct': 'Non-instruct tuning',
  staged: 'Staged: first the field, then the task',
  'do-not-tune': 'Do not tune yet',
};
const DOES: Readonly<Record<AdviceStrategy, string>> = {
  instruct: 'Show it finished examples; it learns from the answers only.',
  'non-instruct': 'Let it read your text; it learns from every word, and is not taught to answer.',
  staged:
    'Let it read your text first, then show it finished examples. Two runs, one after the other: the second trains an adapter of its own over the first.',
  'do-not-tune': 'Put a few examples into the prompt, or look facts up, before you train.',
};

function titleOf({ strategy, rule }: Decision): string {
  if (rule === 'no-data') return 'Bring your data first';
  if (rule === 'already-does') return 'Do not tune: it already does this';
  if (rule === 'no-aim') return 'Try it with prompts first';
  if (rule === 'clear-without-examples') return 'Write examples first';
  if (['look-up', 'changing-field', 'cited-field'].includes(rule)) return 'Do not tune: look it up instead';
  return TITLES[strategy];
}

function summaryOf({ strategy, rule, why }: Decision, situation: Situation): string {
  const because = `Because ${why}.`;
  if (rule === 'no-data') {
    const toward = { pairs: 'instruct', text: 'non-instruct', both: 'staged' }[situation.answers['material'] ?? ''];
    const pointing = toward ?? (aimOf(situation.answers) >= T.clear.value ? 'instruct' : null);
    return `There is nothing to learn from yet. ${pointing ? `Your answers point to ${pointing} tuning; the data will say whether it carries.` : 'Import finished examples, or text of your own.'}`;
  }
  if (rule === 'already-does')
    return `${because} On ${situation.measured?.answers.length ?? 0} unseen examples its own answers share ${Math.round((situation.measured?.f1?.value ?? 0) * 100)}% of their words with yours.`;
  if (rule === 'clear-without-examples')
    return `${because} About ${T.pairsFloor.value} finished examples are enough to begin.`;
  if (['look-up', 'changing-field', 'cited-field', 'no-aim'].includes(rule)) return because;
  return `${DOES[strategy]} ${because}`;
}

const RISKS: Readonly<Record<AdviceStrategy, string>> = {
  instruct:
    'It may get worse at what the examples do not show (forgetting). Compare it with its base model before you rely on it.',
  'non-instruct': 'It takes on style and words, not facts you can rely on, and it is not taught to answer or to stop.',
  staged:
    'Two trainings, two chances to forget. The second stage must be compared with the base model and with the first.',
  'do-not-tune': 'None in waiting: the model stays as it is, and what you write now can be trained later.',
};

function riskOf(decision: Decision, situation: Situation): string {
  const { answers, model, pairs, prose } = situation;
  const { strategy } = decision;
  const fresh = freshProse(situation);
  const reads = strategy === 'non-instruct' || strategy === 'staged';
  if (strategy !== 'do-not-tune' && answers['change'] === 'often')
    return 'Facts that change every week must stand in the question: what is trained in will be out of date.';
  if (strategy !== 'do-not-tune' && answers['cite'] === 'always')
    return 'It cannot know where it read something. Put the source into the question, or look it up.';
  if (strategy === 'non-instruct' && model?.kind.value === 'instruct')
    return 'This model was tuned to answer, and raw text can cost it that (Cheng et al. 2023). A base model, or a second stage with examples, avoids it.';
  if (reads && prose && prose.repeated >= T.proseRepeated.value)
    return `${Math.round(prose.repeated * 100)}% of your prose stood there before (headers, footers, forms): it would learn those passages by heart (Lee et al. 2022). Take them out first.`;
  if (strategy === 'non-instruct' && fresh < T.proseField.value)
    return `With about ${about(fresh)} tokens it will take on some style and no knowledge.`;
  if (strategy === 'instruct' && model && !model.hasChatTemplate)
    return 'This model has no chat template, so a plain one is put in its place and goes along with every export. An instruct model brings its own and needs fewer examples.';
  if (strategy === 'instruct' && pairs && pairs.variety < T.variety.value)
    return `Most examples begin alike (variety ${pairs.variety.toFixed(2)}): it may answer everything the same way.`;
  if (strategy === 'instruct' && answers['task'] === 'field')
    return 'Examples teach how to answer, not the field itself. Facts that stand only in the examples are learned slowly, and the model invents more once it has learned them (Gekhman et al. 2024).';
  if (reads && answers['change'] === 'yearly')
    return 'What it reads now will be partly out of date within a year: plan to train it again, or keep the facts that change in the question.';
  if (strategy === 'instruct' && answers['flexibility'] === 'no')
    return 'You want to keep everything, and instruct tuning costs other abilities. The adapter can be taken off again; the base model is never changed.';
  return RISKS[strategy];
}

function missingOf(decision: Decision, situation: Situation): string[] {
  const pairs = situation.pairs?.different ?? 0;
  const prose = freshProse(situation);
  const missing: string[] = [];
  const wantsPairs = decision.strategy === 'instruct' || decision.strategy === 'staged';
  const pairsGoal = !wantsPairs && pairs < T.pairsFloor.value ? T.pairsFloor.value : T.pairsComfortable.value;
  const gated = ['look-up', 'changing-field', 'cited-field', 'already-does', 'no-aim'].includes(decision.rule);
  if (!gated && decision.strategy !== 'non-instruct' && pairs < pairsGoal)
    missing.push(
      `About ${about(pairsGoal - pairs)} more different pairs ${wantsPairs ? 'would make it comfortable' : 'to begin with instruct tuning'}; you have ${count(pairs)}.`,
    );
  if (decision.strategy === 'non-instruct' && prose < T.proseField.value)
    missing.push(
      `About ${about((T.proseField.value - prose) / TOKENS_PER_WORD)} more words of prose would let it take in the field; you have about ${about(prose / TOKENS_PER_WORD)}.`,
    );
  if (situation.pairs && wantsPairs && situation.pairs.heldOut < T.heldOut.value)
    missing.push(
      `${count(situation.pairs.heldOut)} held-out rows leave a wide margin in comparisons; ${T.heldOut.value} or more are better.`,
    );
  if (wantsPairs && situation.answers['check'] === 'no')
    missing.push(
      'A way to tell a good answer from a bad one: write down what you look for, or nobody can say whether tuning helped.',
    );
  if (decision.rule === 'no-aim')
    missing.push('One thing that it should do, and how you would tell that it does it well.');
  if (decision.strategy === 'non-instruct' && situation.model && !situation.measuredProse)
    missing.push(
      `How well ${situation.model.name} already predicts your unseen text was not measured yet: the lower its loss there, the less is left to read.`,
    );
  for (const { counted, left } of situation.aside ?? [])
    missing.push(
      `“${counted}” alone was counted: a run learns from one import, and ${left.map((name) => `“${name}”`).join(', ')} ${left.length === 1 ? 'is another' : 'are others'}. Bring the files in together to use them all.`,
    );
  const open = QUESTIONS.filter((question) => situation.answers[question.id] === undefined).length;
  if (open > 0)
    missing.push(open === 1 ? 'One question is not answered yet.' : `${open} questions are not answered yet.`);
  return missing;
}

function contradictionsOf({ answers, pairs, proseTokens, prose, noise }: Situation): string[] {
  const different = pairs?.different ?? 0;
  const any = different > 0 || proseTokens > 0;
  const found: string[] = [];
  const say = (when: boolean, words: string): void => void (when && found.push(words));
  say(
    any && ['pairs', 'both'].includes(answers['material'] ?? '') && different === 0,
    'You said that you have finished examples, and none were imported.',
  );
  say(
    any && ['text', 'both'].includes(answers['material'] ?? '') && proseTokens === 0,
    'You said that you have text of your own, and none was imported.',
  );
  say(
    answers['material'] === 'little' && different >= T.pairsUsable.value,
    `You said that you have a handful of examples, and ${count(different)} different ones were imported.`,
  );
  say(
    answers['task'] === 'field' && different > 0 && proseTokens < T.proseStyle.value,
    'You want it to know your field, but what was imported are examples of answers, not text about the field.',
  );
  say(
    answers['task'] === 'one-job' && different === 0 && proseTokens > 0,
    'You want one job done, but what was imported is text, not examples of the job.',
  );
  say(
    answers['flexibility'] === 'yes' && answers['variety'] === 'anything',
    'You said that it may lose other abilities, and also that people will ask it anything.',
  );
  say(
    answers['variety'] === 'anything' &&
      pairs !== null &&
      pairs.rows >= T.pairsJudgeable.value &&
      pairs.variety < T.variety.value,
    `You said that people will ask it anything, but the examples are much alike (variety ${pairs?.variety.toFixed(2) ?? ''}).`,
  );
  say(
    pairs !== null && pairs.rows >= T.pairsJudgeable.value && different < pairs.rows * T.pairsAlike.value,
    `${count((pairs?.rows ?? 0) - different)} of ${count(pairs?.rows ?? 0)} pairs differ from another only in case, digits or punctuation, and count once.`,
  );
  say(
    prose !== null && prose.words >= T.proseMeasurable.value && (prose.types ?? Infinity) < T.proseTypes.value,
    `What was imported as prose reads like lists or forms: ${count(prose?.types ?? 0)} different words in 1,000, where running text has 300 to 500.`,
  );
  say(
    noise > T.noise.value,
    `${(noise * 100).toFixed(0)}% of the rows were dropped or duplicates: the rest deserves a look.`,
  );
  return found;
}

/** How firm the rules are under small changes, capped by how much was answered (firm on guesses is not sure), less for each contradiction. */
function confidenceOf(situation: Situation, answered: number, contradictions: number): Advice['confidence'] {
  const cap = T.sureLeast.value + (T.sureMost.value - T.sureLeast.value) * (answered / QUESTIONS.length);
  const value = Math.max(
    T.sureNever.value,
    Math.min(cap, firmness(situation)) - T.contradiction.value * contradictions,
  );
  const words =
    value >= T.verySure.value
      ? 'Very sure'
      : value >= T.fairlySure.value
        ? 'Fairly sure'
        : value >= T.leaning.value
          ? 'Leaning this way'
          : 'Little to go on';
  return { value: Math.round(value * 100) / 100, words };
}

/** What is still missing for an advice that is not provisional: a model, and what it already does. */
function provisionalOf({ model, measured, pairs }: Situation): string | null {
  if (!model)
    return 'No model is chosen yet. It would say whether it was tuned to answer already, whether examples can be put to it, and, measured, what it already does on yours.';
  if (!measured && pairs && pairs.heldOut > 0 && model.hasChatTemplate)
    return `It was not measured yet what ${model.name} already does on your unseen examples. If it already does it, there is nothing to tune.`;
  return null;
}

/** The same situation always gets the same advice. */
export function advise(situation: Situation): Advice {
  const decision = decide(situation);
  const contradictions = contradictionsOf(situation);
  const other = tip(situation);
  const answered = QUESTIONS.filter((question) => situation.answers[question.id] !== undefined).length;
  return {
    strategy: decision.strategy,
    title: titleOf(decision),
    summary: summaryOf(decision, situation),
    confidence: confidenceOf(situation, answered, contradictions.length),
    axes: axesOf(situation),
    second: {
      strategy: other.strategy,
      reason: `${DOES[other.strategy]} It would win ${other.change}.`,
    },
    risk: riskOf(decision, situation),
    missing: missingOf(decision, situation),
    contradictions,
    provisional: provisionalOf(situation),
    measured: situation.measured,
    measuredProse: situation.measuredProse,
    answered,
    questions: QUESTIONS.length,
  };
}
