/** @file fettle run: look at runs, pause, resume, stop, clone, continue. */
import { resolve } from 'node:path';
import type { Imported, Run } from '../../contract/entities.ts';
import { FettleError } from '../../contract/errors.ts';
import { needed, number, pairs, text, type Command, type Context } from '../command.ts';
import { describeEnd, followRun, runCurve } from '../follow.ts';
import { bytes, count, duration, listed, loss, table } from '../format.ts';
import { waitForJob } from '../wait.ts';

const one = (context: Context): { run: string } => ({ run: context.args[0]! });

/** Goes along with a run that was just started again; only what is new is told. */
async function follow(context: Context, run: Run, after: number): Promise<void> {
  context.say(`Run ${run.id} goes on from step ${run.step}.`);
  const ended = await followRun(context, run.id, { lines: context.json, after });
  if (!context.json) context.say(await runCurve(context, run.id));
  describeEnd(context, ended);
}
const lastEvent = async ({ client }: Context, run: string): Promise<number> =>
  (await client.call('runs.events', { run, limit: 100 })).last;

/** Asks a run for something and says how it stands. */
const asking = (name: 'pause' | 'stop' | 'cancel', summary: string): Command => ({
  name: `run ${name}`,
  usage: 'RUN',
  summary,
  args: [1, 1],
  async run(context) {
    const run = await context.client.call(`runs.${name}`, one(context));
    context.result(run);
    context.say(`Run ${run.id} is ${run.state}.`);
  },
});

const importedLines = ({
  name,
  base,
  rank,
  alpha,
  useRslora,
  useDora,
  modulesToSave,
  targetModules,
}: Imported): string[][] => [
  ['made elsewhere', name],
  ['its files name', base ?? 'no base model'],
  [
    'LoRA',
    `rank ${rank}, alpha ${alpha}${useRslora ? ', rsLoRA' : ''}${useDora ? ', DoRA' : ''}, on ${[...targetModules, ...modulesToSave].join(', ')}`,
  ],
];

const trainedLines = (run: Run): string[][] => [
  ['step', `${run.step} of ${run.steps}`],
  ['tokens', `${count(run.tokens)}${run.tokensPerSecond === null ? '' : `, ${count(run.tokensPerSecond)} a second`}`],
  ['time', duration(run.seconds)],
  ['loss on unseen before', loss(run.heldOutLossStart)],
  ['best', run.best ? `${loss(run.best.loss)} at step ${run.best.step}` : '–'],
  ['trained on', run.device ? `${run.device.name} (${run.device.device})` : '–'],
  ['peak memory', run.peakMemoryBytes === null ? '–' : bytes(run.peakMemoryBytes)],
];

export const runCommands: readonly Command[] = [
  {
    name: 'run import',
    usage: 'PROJECT DIR --model MODEL [--name NAME]',
    summary: 'Bring an adapter in that was made elsewhere: a PEFT folder',
    args: [2, 2],
    options: { model: { type: 'string' }, name: { type: 'string' } },
    help: 'It appears among the runs, and is asked, compared, exported and trained over like one. LoRA, rsLoRA and DoRA with safetensors weights are taken; what else changes their results (trained biases, ranks by pattern) is refused by name.',
    async run(context) {
      const [project, folder] = context.args as [string, string];
      const name = text(context, 'name');
      const job = await context.client.call('runs.import', {
        project,
        path: resolve(folder),
        model: needed(context, 'model'),
        ...(name === undefined ? {} : { name }),
      });
      await waitForJob(context, job.id);
      const run = await context.client.call('runs.show', { run: job.subject });
      context.result(run);
      context.say(`Run ${run.id}`);
      if (run.imported) context.say(table(importedLines(run.imported)));
    },
  },
  {
    name: 'run list',
    usage: '[PROJECT]',
    summary: 'The runs of a project, or all',
    args: [0, 1],
    async run(context) {
      const [project] = context.args;
      const runs = await context.client.call('runs.list', project === undefined ? {} : { project });
      context.result(runs);
      context.say(
        listed(
          runs,
          'No runs yet. `fettle train PROJECT --model MODEL` starts one.',
          ['run', 'state', 'strategy', 'model', 'stands on', 'step', 'loss before', 'best'],
          (r) => [
            r.id,
            r.state,
            r.strategy ?? 'imported',
            r.model,
            r.over ? `${r.over.run}@${r.over.checkpoint ?? 'best'}` : '–',
            r.imported ? '–' : `${r.step} of ${r.steps}`,
            loss(r.heldOutLossStart),
            loss(r.best?.loss ?? null),
          ],
        ),
      );
    },
  },
  {
    name: 'run show',
    usage: 'RUN',
    summary: 'One run: curve, figures, checkpoints',
    args: [1, 1],
    async run(context) {
      const run = await context.client.call('runs.show', one(context));
      context.result(run);
      if (context.json) return;
      if (!run.imported) context.say(await runCurve(context, run.id));
      context.say(
        table([
          ['state', run.state + (run.stage ? `: ${run.stage}` : '')],
          ['model', run.modelName],
          ...(run.imported ? importedLines(run.imported) : []),
          ...(run.datasetName === null ? [] : [['data', run.datasetName]]),
          ...(run.strategy === null ? [] : [['strategy', run.strategy]]),
          ...(run.over ? [['stands on', `${run.over.run}@${run.over.checkpoint ?? 'its best, once it is done'}`]] : []),
          ...(run.recipe && run.recipe.rehearsal > 0
            ? [['rehearsal', `${Math.round(run.recipe.rehearsal * 1000) / 10}% of the tokens are general data`]]
            : []),
          ...(run.imported ? [] : trainedLines(run)),
          [
            'checkpoints',
            run.checkpoints.map((c) => `${c.name}${c.best ? ' (best)' : ''}${c.last ? ' (last)' : ''}`).join(', ') ||
              'none',
          ],
        ]),
      );
      if (run.error) context.say(`\n${run.error.message}\n${run.error.hint ?? ''}`);
    },
  },
  {
    name: 'run metrics',
    usage: 'RUN',
    summary: 'Everything a run reported, one JSON object a line',
    args: [1, 1],
    async run(context) {
      const { events } = await context.client.call('runs.events', { ...one(context), limit: 20000 });
      for (const { event } of events) process.stdout.write(`${JSON.stringify(event)}\n`);
    },
  },
  asking('pause', 'Pause a run; a checkpoint is written'),
  asking('stop', 'End a run now and keep what it learned'),
  asking('cancel', 'End a run; it counts as cancelled'),
  {
    name: 'run resume',
    usage: 'RUN',
    summary: 'Go on with a paused, interrupted or failed run from its last checkpoint',
    args: [1, 1],
    async run(context) {
      const after = await lastEvent(context, context.args[0]!);
      await follow(context, await context.client.call('runs.resume', one(context)), after);
    },
  },
  {
    name: 'run continue',
    usage: 'RUN [--epochs N | --steps N]',
    summary: 'Train a finished run for longer',
    args: [1, 1],
    options: { epochs: { type: 'string' }, steps: { type: 'string' } },
    async run(context) {
      const after = await lastEvent(context, context.args[0]!);
      const [epochs, steps] = [number(context, 'epochs'), number(context, 'steps')];
      const more = { ...(epochs === undefined ? {} : { epochs }), ...(steps === undefined ? {} : { steps }) };
      await follow(context, await context.client.call('runs.continue', { ...one(context), ...more }), after);
    },
  },
  {
    name: 'run clone',
    usage: 'RUN [--set key=value]...',
    summary: 'The same again with changes, as a new run',
    args: [1, 1],
    options: { set: { type: 'string', multiple: true } },
    async run(context) {
      const run = await context.client.call('runs.clone', { ...one(context), set: pairs(context, 'set') });
      const ended = await followRun(context, run.id, { lines: context.json });
      describeEnd(context, ended);
    },
  },
  {
    name: 'run delete',
    usage: 'RUN --yes',
    summary: 'Delete a run with its checkpoints',
    args: [1, 1],
    options: { yes: { type: 'boolean' } },
    async run(context) {
      if (context.options['yes'] !== true)
        throw new FettleError(
          'CONFIRM_NEEDED',
          `Deleting ${context.args[0]} removes its checkpoints.`,
          'Add --yes if that is what you want.',
        );
      context.result(await context.client.call('runs.delete', one(context)));
      context.say(`Run ${context.args[0]} is deleted.`);
    },
  },
  {
    name: 'jobs',
    usage: '',
    summary: 'What is at work and what waits',
    args: [0, 0],
    async run(context) {
      const jobs = await context.client.call('jobs.list', { active: true });
      context.result(jobs);
      context.say(
        jobs.length === 0
          ? 'Nothing is at work.'
          : table(
              jobs.map((job) => [
                job.title,
                job.state,
                job.stage,
                job.progress === null ? '' : `${Math.round(job.progress * 100)}%`,
              ]),
            ),
      );
    },
  },
];
