/** @file The three axes of an advice as a person reads them: where it stands, how far off that could be, why, and the evidence. */
import type { Advice, AdviceStrategy, Answers, BaseMeasure, ProseMeasure } from '../contract/entities.ts';
import { about, count } from './neighbours.ts';
import { answerLabel } from './questions.ts';
import { dataPlace, flexibilityPlace, goalPlace, type Place } from './places.ts';
import { freshProse, type Situation } from './situation.ts';
import type { ProseEvidence } from './prose.ts';
import { THRESHOLDS as T } from './thresholds.ts';

type AxisView = Advice['axes'][number];

const round = (value: number): number => Math.round(value * 100) / 100;
const shown = ({ at, off }: Place): Pick<AxisView, 'position' | 'band'> => ({
  position: round(at),
  band: [round(Math.max(0, at - off)), round(Math.min(1, at + off))],
});
const lean = (position: number): AdviceStrategy =>
  position >= T.clear.value ? 'instruct' : position < T.broad.value ? 'non-instruct' : 'staged';
const answersShown = (answers: Answers, labels: Readonly<Record<string, string>>): AxisView['evidence'] =>
  Object.entries(labels).map(([id, label]) => ({ label, value: answerLabel(answers, id) ?? 'Not answered' }));
const percent = (share: number): string => `${(share * 100).toFixed(1)}%`;

function goalAxis({ answers }: Situation): AxisView {
  const place = goalPlace(answers);
  const leansTo = lean(place.at);
  const reason =
    answers['task'] === undefined || answers['task'] === 'unsure'
      ? 'What it should do is still open. The clearer the task, the more there is to gain from examples of it.'
      : leansTo === 'instruct'
        ? answers['check'] === 'no'
          ? 'A task you can name, though not yet a way to check it.'
          : 'One task, said plainly, with answers you can check: that is what examples teach.'
        : leansTo === 'non-instruct'
          ? 'You want it to know a field rather than do one task: that is learned by reading, not from single answers.'
          : 'Between a task and a field.';
  return {
    axis: 'goal-clarity',
    title: 'Goal clarity',
    ...shown(place),
    ends: ['Broad understanding', 'One explicit task'],
    leansTo,
    reason,
    evidence: answersShown(answers, {
      task: 'Its work',
      check: 'Good answers can be told',
      change: 'Facts change',
      cite: 'Must name sources',
    }),
  };
}

function flexibilityAxis({ answers, pairs }: Situation): AxisView {
  const place = flexibilityPlace(answers);
  const leansTo = lean(place.at);
  const reason =
    answers['flexibility'] === undefined
      ? 'Whether it may lose other abilities is still open. Instruct tuning makes it precise at one thing and costs others.'
      : leansTo === 'instruct'
        ? 'It may specialise: instruct tuning gains precision on the task and may cost other abilities.'
        : leansTo === 'non-instruct'
          ? 'It must stay flexible: instruct tuning on one task would cost it other abilities, broad text costs less.'
          : 'It may specialise somewhat, so what it loses elsewhere has to be measured.';
  const seen =
    pairs && pairs.rows > 0 ? [{ label: 'Variety of the examples, 0 to 1', value: pairs.variety.toFixed(2) }] : [];
  return {
    axis: 'flexibility',
    title: 'Flexibility against specificity',
    ...shown(place),
    ends: ['Keep everything', 'Specialise'],
    leansTo,
    reason,
    evidence: [
      ...answersShown(answers, { flexibility: 'May lose other abilities', variety: 'What it is asked' }),
      ...seen,
    ],
  };
}

function dataLean(pairs: number, prose: number): AdviceStrategy {
  if (pairs < T.pairsFloor.value) return prose < T.proseStyle.value ? 'do-not-tune' : 'non-instruct';
  return prose < T.proseField.value ? 'instruct' : 'staged';
}

function dataAxis(situation: Situation): AxisView {
  const { pairs, proseTokens, prose, noise, measured, measuredProse } = situation;
  const fresh = freshProse(situation);
  const different = pairs?.different ?? 0;
  const leansTo = dataLean(different, fresh);
  const reason = {
    'do-not-tune': `${count(different)} different pairs and about ${about(fresh)} tokens of prose are too little to train on: from ${count(T.pairsFloor.value)} pairs or ${count(T.proseStyle.value)} tokens a change can be seen.`,
    'non-instruct': `About ${about(fresh)} tokens of prose to read, and ${count(different)} different pairs where ${count(T.pairsFloor.value)} are the fewest that show an effect.`,
    instruct: `${count(different)} different pairs${different < T.pairsUsable.value ? ', enough to begin with' : different < T.pairsComfortable.value ? ', a fair number for one task' : ', plenty for one task'}; about ${about(fresh)} tokens of prose${fresh === 0 ? '' : ` where ${count(T.proseField.value)} begin to teach a field`}.`,
    staged: `Both: ${count(different)} different pairs for the task and about ${about(fresh)} tokens of prose for the field.`,
  }[leansTo];
  const repeats = prose && prose.repeated >= T.proseRepeated.value;
  return {
    axis: 'data',
    title: 'Data dependency',
    ...shown(dataPlace(different, fresh)),
    ends: ['Much text, few examples', 'Many examples, little text'],
    leansTo,
    reason: repeats ? `${reason} Repeated passages are counted once.` : reason,
    evidence: [
      { label: 'Pairs', value: count(pairs?.rows ?? 0) },
      { label: 'Really different', value: count(different) },
      ...(pairs && pairs.rows > 0 ? [{ label: 'Held out', value: count(pairs.heldOut) }] : []),
      { label: 'Prose, estimated tokens', value: count(proseTokens) },
      ...(prose ? proseEvidence(prose) : []),
      { label: 'Noise (dropped or duplicate)', value: percent(noise) },
      ...(measured ? measuredEvidence(measured) : []),
      ...(measuredProse ? measuredProseEvidence(measuredProse) : []),
    ],
  };
}

const proseEvidence = ({ types, repeated }: ProseEvidence): AxisView['evidence'] => [
  ...(types === null ? [] : [{ label: 'Different words in 1,000 of prose', value: count(types) }]),
  { label: 'Prose that repeats (five-word sequences)', value: percent(repeated) },
];

const measuredProseEvidence = ({ documents, loss }: ProseMeasure): AxisView['evidence'] => [
  {
    label: `Loss on your unseen prose, nats a token (${count(documents)} ${documents === 1 ? 'document' : 'documents'})`,
    value: `${loss.value.toFixed(2)} (${loss.low.toFixed(2)} to ${loss.high.toFixed(2)})`,
  },
];

const measuredEvidence = ({ f1, exact, loss, answers }: BaseMeasure): AxisView['evidence'] => [
  {
    label: 'Loss of the model as it is, nats a token',
    value: `${loss.value.toFixed(2)} (${loss.low.toFixed(2)} to ${loss.high.toFixed(2)})`,
  },
  ...(f1
    ? [
        {
          label: `Its own answers, words shared (F1, ${answers.length} asked)`,
          value: `${f1.value.toFixed(2)} (${f1.low.toFixed(2)} to ${f1.high.toFixed(2)})`,
        },
        { label: 'Word for word', value: count(exact) },
      ]
    : []),
];

export const axesOf = (situation: Situation): AxisView[] => [
  goalAxis(situation),
  flexibilityAxis(situation),
  dataAxis(situation),
];
