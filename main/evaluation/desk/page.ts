/** @file The report for the desk as one HTML document: two A4 pages, light, nothing loaded from anywhere. No path, user or machine stands in it. */
import type {
  BlindTest,
  Comparison,
  Dataset,
  Export,
  LearningCurve,
  Model,
  Project,
  TrainedRun,
} from '../../contract/entities.ts';
import { bytes as inWords } from '../../contract/bytes.ts';
import { checkName } from '../../contract/checks.ts';
import { inPercent } from '../../contract/export-types.ts';
import { count, points } from '../../contract/figures.ts';
import type { LineageNode } from '../../contract/lineage.ts';
import { rowsInWords } from '../../contract/measured-on.ts';
import { WAYS } from '../verdict/rules.ts';
import { cautionsOf } from './cautions.ts';
import { facts, forest, lossDelta, masked, passage, safe, section, type Row } from './parts.ts';
import { curvePicture, lineagePicture, lossPicture, type Looks } from './pictures.ts';
import { STYLE } from './style.ts';

export interface DeskFacts {
  readonly project: Pick<Project, 'name' | 'goal'>;
  readonly run: TrainedRun;
  /** The base; null where it was deleted since, as the data may be. */
  readonly model: Model | null;
  readonly dataset: Dataset | null;
  readonly comparison: Comparison & { readonly result: NonNullable<Comparison['result']> };
  /** Of the comparison's further models, the one that is reported. */
  readonly which: number;
  readonly curve: NonNullable<LearningCurve['result']> | null;
  /** The newest in which this run was judged without names, and the names were shown. */
  readonly blind: BlindTest | null;
  readonly unseen: Looks;
  readonly training: Looks;
  readonly lineage: readonly LineageNode[];
  /** Of this run, with a proof. */
  readonly exports: readonly Export[];
  /** ISO 8601. */
  readonly at: string;
  readonly version: string;
}

/** Skills that are told one by one. */
const SKILLS = 7;
const MOST_EXPORTS = 6;

export function deskPage(of: DeskFacts): string {
  const title = `${of.project.name}, run ${of.run.number}`;
  const foot = (page: number): string =>
    `<footer><span>Made offline by Fettle ${safe(of.version)}. Margins are 95% (paired bootstrap).</span><span>${safe(title)}. Page ${page} of 2</span></footer>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Report for the desk: ${safe(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<article class="sheet">
${head(of, title, safe(of.project.goal))}
${verdict(of)}
${section('What was tuned on what', '', tuned(of))}
<div class="cols">${precision(of)}${flexibility(of)}</div>
<p class="small term">Green gained, rose lost, grey: no difference that we can measure. Points are of 100 items.</p>
<div class="cols">${asItLearned(of)}${data(of)}</div>
${foot(1)}
</article>
<article class="sheet">
${head(of, title, 'Samples, lineage, proof')}
${samples(of)}
<div class="cols">${section('Lineage', 'where it comes from', lineagePicture(of.lineage))}${section('Read before use', '', list(cautionsOf(of.comparison.result, of.which, of.run, of.model)))}</div>
${blindTest(of)}
${proofs(of)}
${section('Measured on', '', measuredOn(of))}
${section('Seen by', '', '<div class="sign small term"><span>Name</span><span>Role</span><span>Date, signature</span></div>')}
${foot(2)}
</article>
</body>
</html>
`;
}

const MARK =
  '<svg width="24" height="24" viewBox="0 0 24 24" fill="none" aria-hidden="true"><rect x="1" y="1" width="22" height="22" rx="5" fill="#24211c"/><path d="M5.5 6v5c0 4 2.5 6.5 6.5 6.5h6.5" stroke="#c4973c" stroke-width="2.5" stroke-linecap="round"/></svg>';

function head({ at }: DeskFacts, title: string, under: string): string {
  const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' }).format(new Date(at));
  return `<header class="top">${MARK}<div><h1>${safe(title)}</h1><p class="soft">${under}</p></div><span class="small term">Report for the desk<br>${day}</span></header>`;
}

const list = (sentences: readonly string[]): string =>
  `<ul class="plain small soft">${sentences.map((each) => `<li>${safe(each)}</li>`).join('')}</ul>`;

function verdict({ comparison, which }: DeskFacts): string {
  const model = comparison.result.models[which + 1]!;
  const found = comparison.verdicts.find(({ target }) => target === model.target);
  if (!found) {
    // Results of the first form did not keep what a verdict rests on.
    const said = comparison.result.scorecard?.sentences[which] ?? comparison.result.differences[which]?.sentence ?? '';
    return `<div><div class="small term">What was measured</div><p class="lead soft">${safe(said)}</p></div>`;
  }
  const next = found.next.map(({ what }) => what);
  return `<div><div class="small term">Verdict on the strategy, ${safe(model.label)} against ${safe(comparison.result.models[0]!.label)}</div><div class="verdict">${safe(found.title)}</div><p class="lead soft">${safe(found.because)}</p>${next.length > 0 ? `<p class="small soft"><b>Next:</b> ${safe(next.join(' '))}</p>` : ''}</div>`;
}

function tuned({ run, model, dataset, comparison, which }: DeskFacts): string {
  const { recipe, advice, choice } = run;
  const measured = comparison.result.models[which + 1]!;
  const kept = measured.run;
  const way = run.over ? 'staged' : run.strategy;
  const chosen = choice?.overruled
    ? `, against the advice (${choice.advised})${choice.reason ? `: ${choice.reason}` : ''}`
    : advice
      ? `, ${advice.strategy === way || advice.strategy === 'staged' ? 'as advised' : `advised was ${advice.strategy}`} (${advice.confidence.words.toLowerCase()})`
      : '';
  const rehearsal =
    recipe.rehearsal > 0 ? `, and general data of Fettle’s own (${Math.round(100 * recipe.rehearsal)}%)` : '';
  return `<div class="cols">${facts([
    ['Base', model ? `${safe(model.name)}, ${size(model.parameters)} numbers` : safe(measured.model.name)],
    [
      'Its licence',
      model?.license
        ? safe(model.license)
        : model
          ? 'not stated in its files'
          : 'not known here: the base was removed from Fettle',
    ],
    ['Strategy', safe(`${WAYS[way]}${chosen}`)],
    ['Data', `${safe(run.datasetName)}, version <span class="mono">${safe(run.dataset)}</span>`],
    dataset ? ['Learned from', safe(`${count(dataset.trainRows)} rows${rehearsal}`)] : null,
    dataset ? ['Kept aside', `${count(dataset.heldOutRows)} rows that it never learned from`] : null,
  ])}${facts([
    [
      'What learned',
      recipe.method === 'full'
        ? 'All its numbers'
        : `An addition of rank ${recipe.rank} (LoRA) on ${recipe.targetModules.length} kinds of layers`,
    ],
    ['Step size', `${recipe.learningRate}, ${recipe.schedule}`],
    [
      'Read',
      `planned ${recipe.epochs === 1 ? 'once' : `${recipe.epochs} times`}; ${count(run.step)} of ${count(run.steps)} steps, ${count(run.tokens)} tokens`,
    ],
    kept
      ? [
          'Kept',
          `<b>Step ${count(kept.step)}</b>${kept.best?.step === kept.step ? `, lowest loss on unseen rows (${kept.best.loss.toFixed(3)})` : ''}`,
        ]
      : null,
    [
      'Time, memory',
      `${minutes(run.seconds)}${run.peakMemoryBytes ? `, ${(run.peakMemoryBytes / 1e9).toFixed(1)} GB` : ''}`,
    ],
    ['To do it again', `seed ${recipe.seed}, Fettle ${safe(run.versions['fettle'] ?? '')}`],
  ])}</div>`;
}

const size = (parameters: number): string => (parameters >= 1e6 ? `${count(parameters / 1e6)} M` : count(parameters));
const minutes = (seconds: number): string =>
  seconds < 90
    ? `${Math.round(seconds)} s`
    : seconds < 5400
      ? `${Math.round(seconds / 60)} min`
      : `${(seconds / 3600).toFixed(1)} h`;

const fromTo = (scores: readonly { readonly value: number }[], which: number): string =>
  `${Math.round(100 * scores[0]!.value)} → ${Math.round(100 * scores[which + 1]!.value)}`;

function precision({ comparison, which }: DeskFacts): string {
  const { scorecard, losses, differences, heldOutRows } = comparison.result;
  const goal = scorecard?.goal;
  const loss = differences[which];
  const lossLine =
    loss && losses[0]
      ? `<p class="small soft">Loss on unseen rows ${losses[0].loss.value.toFixed(3)} → ${losses[which + 1]!.loss.value.toFixed(3)} nats a token ${lossDelta(loss.loss, loss.verdict, heldOutRows)}</p>`
      : '';
  if (!goal)
    return section('Precision on the goal', '', `<p class="small soft">Its answers were not judged.</p>${lossLine}`);
  const row = (name: string, scores: (typeof goal.checks)[number] | typeof goal): Row => ({
    name,
    note: fromTo(scores.scores, which),
    difference: points(scores.differences[which]!),
    verdict: scores.verdicts[which]!,
  });
  const named = ({ check }: (typeof goal.checks)[number]): string =>
    checkName(check.text === undefined ? check : { ...check, text: masked(check.text, 24) });
  const rows =
    goal.checks.length === 1
      ? [row(named(goal.checks[0]!), goal)]
      : [row(`All ${goal.checks.length} checks`, goal), ...goal.checks.map((each) => row(named(each), each))];
  return section('Precision on the goal', `points, ${goal.items.length} unseen questions`, forest(rows) + lossLine);
}

function flexibility({ comparison, which }: DeskFacts): string {
  const { general, skills, prose } = comparison.result.scorecard ?? { general: null, skills: [], prose: null };
  const text = prose?.differences[which];
  const textLine =
    prose && text
      ? `<p class="small soft">Other text ${prose.losses[0]!.value.toFixed(2)} → ${prose.losses[which + 1]!.value.toFixed(2)} nats a token ${lossDelta(text, prose.verdicts[which]!, prose.domains.length)}</p>`
      : '';
  if (!general)
    return section(
      'Flexibility',
      'what it kept',
      `<p class="small soft">General skills were not measured.</p>${textLine}`,
    );
  const sorted = skills.toSorted(
    (a, b) =>
      Number(b.verdicts[which] !== 'no-difference') - Number(a.verdicts[which] !== 'no-difference') ||
      Math.abs(b.differences[which]!.value) - Math.abs(a.differences[which]!.value),
  );
  const rows: Row[] = [
    {
      name: 'All general skills',
      note: fromTo(general.scores, which),
      difference: points(general.differences[which]!),
      verdict: general.verdicts[which]!,
    },
    ...sorted.slice(0, SKILLS).map(({ skill, scores, differences, verdicts }): Row => ({
      name: skill.charAt(0).toUpperCase() + skill.slice(1).replaceAll('-', ' '),
      note: fromTo(scores, which),
      difference: points(differences[which]!),
      verdict: verdicts[which]!,
    })),
  ];
  const rest = sorted.slice(SKILLS);
  const within = rest.filter(({ verdicts }) => verdicts[which] === 'no-difference').length;
  const more =
    rest.length > 0
      ? `<p class="small term">${rest.length} more skills, ${within} of them within their margins.</p>`
      : '';
  return section('Flexibility', `what it kept, points, ${general.count} questions`, forest(rows) + more + textLine);
}

function asItLearned({ unseen, training, run }: DeskFacts): string {
  return section('As it learned', 'loss on unseen rows', lossPicture(unseen, training, run.best));
}

function data({ curve }: DeskFacts): string {
  return section(
    'Would more data help?',
    'learning curve',
    curve
      ? `${curvePicture(curve)}<p class="small soft">${safe(curve.sentence)}</p>`
      : '<p class="small soft">Not measured.</p>',
  );
}

/** Two that are spread over the questions, and the one that went most wrong. */
function samples({ comparison, which }: DeskFacts): string {
  const { scorecard, samples: asked, models } = comparison.result;
  const labels = [models[0]!.label, models[which + 1]!.label];
  const items = scorecard?.goal?.items;
  if (!items || items.length === 0) {
    const shown = asked.slice(0, 3);
    if (shown.length === 0) return section('Samples', '', '<p class="small soft">No question was asked.</p>');
    return section(
      'Samples',
      'not judged',
      shown
        .map(({ prompt, answers }) =>
          sample(
            prompt,
            labels,
            [answers[0]!, answers[which + 1]!].map(({ text }) => ({ text, note: '' })),
          ),
        )
        .join(''),
    );
  }
  const score = (item: (typeof items)[number]): number => item.answers[which + 1]!.score;
  const worst = items.reduce((least, item) => (score(item) < score(least) ? item : least));
  const others = items.filter((item) => item !== worst);
  const chosen = [others[0], others[Math.floor(others.length / 2)]].filter(
    (item, i, all) => item !== undefined && all.indexOf(item) === i,
  );
  const draw = (item: (typeof items)[number]): string =>
    sample(
      item.prompt,
      labels,
      [item.answers[0]!, item.answers[which + 1]!].map(({ text, score, checks }) => ({
        text,
        note: checks
          ? `${checks.filter((each) => each >= 0.999).length} of ${checks.length} checks met`
          : `${Math.round(100 * score)}%`,
      })),
    );
  return section(
    'Samples',
    'two of the unseen questions, and last the one that went most wrong; addresses and numbers masked',
    [...chosen, worst].map((item) => draw(item!)).join(''),
  );
}

function sample(
  prompt: string,
  labels: readonly string[],
  answers: readonly { readonly text: string; readonly note: string }[],
): string {
  return `<div class="sample"><p class="q small soft">${passage(prompt, 300)}</p>${answers
    .map(
      ({ text, note }, i) =>
        `<div><h3>${safe(labels[i]!)} <span class="term small">${passage(note, 60)}</span></h3><p class="small">${passage(text.replace(/\s*\n\s*/g, '\n'), 420)}</p></div>`,
    )
    .join('')}</div>`;
}

function blindTest({ blind }: DeskFacts): string {
  if (!blind?.reveal) return '';
  const { models, sentence } = blind.reveal;
  const votes = models.map(({ label, votes }) => `${label}: ${votes}`).join(', ');
  return section(
    'Blind test by a person',
    `${blind.count.votes} answers, names hidden, sides shuffled`,
    `<p class="small"><b>${safe(votes)}</b>, without difference: ${blind.count.ties}. <span class="soft">${safe(sentence)}</span></p>`,
  );
}

const FORMATS: Readonly<Record<Export['format'], string>> = {
  adapter: 'Adapter only',
  'gguf-adapter': 'Adapter as one file (GGUF)',
  safetensors: 'Merged folder',
  gguf: 'One file (GGUF)',
  ollama: 'Ollama folder',
  onnx: 'ONNX folder',
};
const PROVEN = { equal: 'Proven', within: 'Proven within its type', different: 'Failed' } as const;

function proofs({ exports }: DeskFacts): string {
  if (exports.length === 0)
    return section('Proof of the files', '', '<p class="small soft">Nothing was exported yet.</p>');
  const rows = exports.slice(0, MOST_EXPORTS).map(({ format, dtype, bytes, proof, error }) => {
    if (!proof) return '';
    const { replays, tokensEqual, tokensCompared, likelihood, largestLogitDifference } = proof;
    const boxes = replays
      .map(({ tokens, same }) => `<i class="${same >= tokens ? 'same' : same > 0 ? 'part' : ''}"></i>`)
      .join('');
    const off = likelihood
      ? `${inPercent(likelihood.change)}, ${(100 * likelihood.allowed).toFixed(1)}% allowed`
      : `${largestLogitDifference.toExponential(1)} in logits`;
    return `<tr><td><b>${FORMATS[format]}</b> <span class="term">${safe(dtype)}</span></td><td class="num">${bytes > 0 ? inWords(bytes) : 'not kept'}</td><td><div class="strip" aria-hidden="true">${boxes}</div></td><td class="num">${count(tokensEqual)} of ${count(tokensCompared)}</td><td class="num">${off}</td><td>${error ? '<b>Failed</b>' : PROVEN[proof.verdict]}</td></tr>`;
  });
  return section(
    'Proof of the files',
    'each read again and asked the same prompts; a full box: every token the same',
    `<table><thead><tr><th>File</th><th class="num">Size</th><th>Prompts</th><th class="num">Same tokens</th><th class="num">Loss off by</th><th>Verdict</th></tr></thead><tbody>${rows.join('')}</tbody></table>`,
  );
}

const SUITES: Readonly<Record<string, string>> = {
  'held-out': 'held-out rows',
  task: 'unseen questions',
  general: 'general questions',
  prose: 'other texts',
};

function measuredOn({ comparison, which }: DeskFacts): string {
  const { suites, decoding, models } = comparison.result;
  const hashes = [models[0]!, models[which + 1]!].flatMap(({ label, adapter, under }) =>
    adapter === null ? [] : { label, stages: [...under, adapter] },
  );
  return `<p class="small soft">${safe(
    suites.map(({ name, version, items }) => `${count(items)} ${SUITES[name]} (${version})`).join('; '),
  )}. ${safe(rowsInWords(comparison.result).join(' '))} ${decoding.temperature === 0 ? 'Greedy decoding' : `Temperature ${decoding.temperature}`}, up to ${decoding.maxTokens} tokens, seed ${decoding.seed}. Base <span class="mono">${safe(models[0]!.model.hash.slice(0, 16) || 'hash not kept')}</span>${hashes
    .map(
      ({ label, stages }) =>
        `, ${safe(label)} ${stages.map((hash) => `<span class="mono">${hash.slice(0, 16)}</span>`).join(' over it ')}`,
    )
    .join('')} (SHA-256).</p>`;
}
