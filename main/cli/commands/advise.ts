/** @file fettle advise: which way to tune, with reasons on the three axes. */
import { readFile } from 'node:fs/promises';
import { Answers, type Advice } from '../../contract/entities.ts';
import { Way } from '../../contract/recipe.ts';
import { FettleError, toFettleError } from '../../contract/errors.ts';
import { text, type Command, type Context } from '../command.ts';
import { wrap } from '../format.ts';
import { waitForJob } from '../wait.ts';

const SCALE = 30;

export function describeAdvice({ say }: Pick<Context, 'say'>, advice: Advice): void {
  say(`${advice.title}  (${advice.confidence.words.toLowerCase()}, ${Math.round(advice.confidence.value * 100)}%)`);
  say(wrap(advice.summary, '  '));
  for (const axis of advice.axes) {
    const at = Math.round(axis.position * (SCALE - 1));
    const [from, to] = axis.band.map((end) => Math.round(end * (SCALE - 1))) as [number, number];
    const line = Array.from({ length: SCALE }, (_, i) => (i === at ? '●' : i >= from && i <= to ? '━' : '─')).join('');
    say(`\n  ${axis.title}`);
    say(`  ${axis.ends[0]} ${line} ${axis.ends[1]}`);
    say(wrap(axis.reason, '  '));
    for (const { label, value } of axis.evidence) say(`    ${label}: ${value}`);
  }
  say();
  say(wrap(`Second choice: ${advice.second.reason}`, '  '));
  say(wrap(`Risk: ${advice.risk}`, '  '));
  for (const sentence of advice.contradictions) say(wrap(`Does not fit together: ${sentence}`, '  '));
  for (const sentence of advice.missing) say(wrap(`Missing: ${sentence}`, '  '));
  if (advice.provisional) say(wrap(`Provisional: ${advice.provisional}`, '  '));
}

async function readAnswers(path: string): Promise<Answers> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    throw toFettleError(error);
  });
  try {
    return Answers.parse(JSON.parse(content));
  } catch (error) {
    throw new FettleError(
      'INPUT_INVALID',
      `${path} is no JSON object of answers.`,
      '`fettle advise PROJECT --questions` prints the questions with the answers they take.',
      { cause: error },
    );
  }
}

export const adviseCommands: readonly Command[] = [
  {
    name: 'advise',
    usage: 'PROJECT [--answers FILE] [--model MODEL] [--measure] [--choose WAY [--reason TEXT]] [--questions]',
    summary: 'Which way to tune: instruct, non-instruct, both in stages, or not at all',
    args: [0, 1],
    options: {
      answers: { type: 'string' },
      model: { type: 'string' },
      measure: { type: 'boolean' },
      choose: { type: 'string' },
      reason: { type: 'string' },
      questions: { type: 'boolean' },
    },
    help: 'FILE is a JSON object: {"task": "one-job", "flexibility": "yes"}. --questions prints what may be answered. --measure first sees what the model already does on the unseen examples. --choose takes a way (instruct, non-instruct, staged), as advised or not: advice, choice and reason are kept with each run.',
    async run(context) {
      const { client } = context;
      if (context.options['questions'] === true) {
        const questions = await client.call('strategy.questions', {});
        context.result(questions);
        for (const { id, text: words, why, options } of questions) {
          context.say(`${id}: ${words}`);
          context.say(wrap(why, '    '));
          for (const option of options) context.say(`    ${option.value.padEnd(10)} ${option.label}`);
        }
        return;
      }
      const [project] = context.args;
      if (project === undefined) throw new FettleError('USAGE', 'Name the project.', 'fettle advise PROJECT');
      const file = text(context, 'answers');
      if (file !== undefined) await client.call('strategy.answer', { project, answers: await readAnswers(file) });
      const model = text(context, 'model');
      if (context.options['measure'] === true)
        await waitForJob(
          context,
          (await client.call('strategy.measure', { project, ...(model === undefined ? {} : { model }) })).id,
        );
      const way = text(context, 'choose');
      if (way !== undefined) {
        const chosen = Way.safeParse(way);
        if (!chosen.success) throw new FettleError('USAGE', `--choose is one of ${Way.options.join(', ')}.`);
        await client.call('strategy.choose', { project, strategy: chosen.data, reason: text(context, 'reason') ?? '' });
      }
      const advice = await client.call('strategy.advise', { project, ...(model === undefined ? {} : { model }) });
      const { choice } = await client.call('projects.show', { project });
      context.result({ ...advice, choice });
      describeAdvice(context, advice);
      if (choice)
        context.say(
          wrap(
            `Chosen: ${choice.strategy}, ${choice.overruled ? `against the advice${choice.reason ? ` (${choice.reason})` : ''}` : 'as advised'}.`,
          ),
        );
    },
  },
];
