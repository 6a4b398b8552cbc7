/** @file fettle train: plan and start a run, and follow it. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { InputOf } from '../../contract/api.ts';
import type { Plan } from '../../contract/entities.ts';
import { FettleError, toFettleError } from '../../contract/errors.ts';
import { Way } from '../../contract/recipe.ts';
import { needed, pairs, text, type Command, type Context } from '../command.ts';
import { describeEnd, followRun, runCurve } from '../follow.ts';
import { bytes, count, duration, table, wrap } from '../format.ts';
import { waitForJob } from '../wait.ts';

export function describePlan(
  { say }: Pick<Context, 'say'>,
  { recipe, reasons, questions, guards, estimate }: Plan,
): void {
  const shown = [
    'strategy',
    'rank',
    'learningRate',
    'epochs',
    'batchSize',
    'maxLength',
    'lossOn',
    'rehearsal',
  ] as const;
  say(table(shown.map((key) => [`  ${key}`, String(recipe[key]), reasons[key]?.reason ?? ''])));
  say(
    wrap(
      `${count(estimate.steps)} steps of about ${count(estimate.tokensPerStep)} tokens${estimate.rehearsalTokens > 0 ? ` (${count(estimate.rehearsalTokens)} of a pass are general data)` : ''}; about ${bytes(estimate.memoryBytes)} of memory (${bytes(estimate.freeMemoryBytes)} free), ${bytes(estimate.diskBytes)} on the disk${estimate.seconds === null ? '' : `, about ${duration(estimate.seconds)}`}.`,
      '  ',
    ),
  );
  say(wrap(`Time: ${estimate.seconds === null ? 'not known yet. ' : ''}${estimate.secondsWhy}`, '  '));
  for (const { what, measured, suggestion, holds } of guards)
    say(wrap(`${holds ? 'Guarded' : 'Look here'}: ${what}. ${measured} ${suggestion}`, '  '));
  for (const { question } of questions) say(wrap(`Are you sure? ${question}`, '  '));
  for (const { text } of estimate.fits ? [] : estimate.suggestions) say(wrap(`It does not fit: ${text}`, '  '));
}

async function readRecipe(path: string): Promise<Record<string, unknown>> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    throw toFettleError(error);
  });
  try {
    const parsed: unknown = JSON.parse(content);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) {
      // recipe.json of an export holds it with hashes and versions around it.
      const inner = 'recipe' in parsed ? parsed.recipe : parsed;
      if (typeof inner === 'object' && inner !== null) return { ...inner };
    }
  } catch {
    // Said below.
  }
  throw new FettleError(
    'RECIPE_INVALID',
    `${path} is no JSON object.`,
    'A recipe is flat JSON: {"rank": 16, "epochs": 3}.',
  );
}

async function followToEnd(context: Context, id: string): Promise<void> {
  context.say(`Run ${id}`);
  const run = await followRun(context, id, { lines: context.json });
  if (!context.json) context.say(await runCurve(context, id));
  describeEnd(context, run);
}

export const trainCommand: Command = {
  name: 'train',
  usage:
    'PROJECT --model MODEL [--dataset D] [--strategy instruct|non-instruct|staged] [--over RUN] [--recipe FILE] [--set key=value]... [--set-text key=value]... [--set-examples key=value]... [--init-adapter DIR] [--estimate [--calibrate]]',
  summary: 'Train; Ctrl-C pauses, `fettle run resume` goes on',
  args: [1, 1],
  options: {
    model: { type: 'string' },
    dataset: { type: 'string' },
    strategy: { type: 'string' },
    over: { type: 'string' },
    recipe: { type: 'string' },
    set: { type: 'string', multiple: true },
    'set-text': { type: 'string', multiple: true },
    'set-examples': { type: 'string', multiple: true },
    'init-adapter': { type: 'string' },
    estimate: { type: 'boolean' },
    calibrate: { type: 'boolean' },
  },
  help: '--strategy staged reads the text first and then learns from the examples: two runs, the second over the first. --over RUN[@CHECKPOINT] starts such a second stage by itself. --set holds for both stages, --set-text and --set-examples for one.\nWhat is not set is recommended, with reasons: --estimate shows them and trains nothing. With --calibrate it first takes a few steps, keeps nothing of them, and tells the time by how long they took.\nExample: fettle train letters --model smollm2-135m-instruct --set epochs=2 --set rank=8',
  async run(context) {
    const { client } = context;
    const way = Way.optional().safeParse(text(context, 'strategy'));
    if (!way.success) throw new FettleError('USAGE', `--strategy is one of ${Way.options.join(', ')}.`);
    const strategy = way.data;
    const over = text(context, 'over');
    const recipe = text(context, 'recipe');
    const adapter = text(context, 'init-adapter');
    const dataset = text(context, 'dataset');
    const request: InputOf<'runs.plan'> = {
      project: context.args[0]!,
      model: needed(context, 'model'),
      ...(dataset === undefined ? {} : { dataset }),
      // Of both stages the plan is that of the first.
      ...(strategy === undefined ? {} : { strategy: strategy === 'staged' ? 'non-instruct' : strategy }),
      set: {
        ...(recipe === undefined ? {} : await readRecipe(recipe)),
        ...pairs(context, 'set'),
        ...(adapter === undefined ? {} : { initAdapter: resolve(adapter) }),
      },
    };
    const stages = { 'non-instruct': pairs(context, 'set-text'), instruct: pairs(context, 'set-examples') };
    if (strategy !== 'staged' && Object.values(stages).some((set) => Object.keys(set).length > 0))
      throw new FettleError('USAGE', '--set-text and --set-examples belong to --strategy staged.', 'Use --set.');
    const calibrated = context.options['calibrate'] === true;
    if (calibrated && context.options['estimate'] !== true)
      throw new FettleError('USAGE', '--calibrate belongs to --estimate.', 'Use both, or leave it out.');
    if (context.options['estimate'] === true) {
      const estimated = async (what: InputOf<'runs.plan'>): Promise<Plan> => {
        if (calibrated) await waitForJob(context, (await client.call('runs.calibrate', what)).id);
        return client.call('runs.plan', what);
      };
      const first = { ...request, set: { ...request.set, ...stages['non-instruct'] } };
      if (strategy !== 'staged') {
        const plan = await estimated(request);
        context.result(plan);
        return describePlan(context, plan);
      }
      const second: InputOf<'runs.plan'> = {
        ...request,
        strategy: 'instruct',
        set: { ...request.set, ...stages.instruct },
      };
      const plans = [await estimated(first), await estimated(second)];
      context.result(plans);
      for (const [i, plan] of plans.entries()) {
        context.say(`Stage ${i + 1}`);
        describePlan(context, plan);
      }
      return;
    }
    const first = await client.call('runs.start', {
      ...request,
      ...(strategy === undefined ? {} : { strategy }),
      ...(over === undefined ? {} : { over }),
      stages,
    });
    await followToEnd(context, first.id);
    if (strategy !== 'staged') return;
    const runs = await client.call('runs.list', { project: first.project });
    const second = runs.find((run) => run.over?.run === first.id);
    if (second) await followToEnd(context, second.id);
  },
};
