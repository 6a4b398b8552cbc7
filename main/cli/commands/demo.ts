/** @file fettle demo: the whole way on the sample project, from nothing to an adapter that was judged and handed over. */
import type { Answers } from '../../contract/entities.ts';
import { FettleError } from '../../contract/errors.ts';
import { pairs, type Command } from '../command.ts';
import { describeEnd, followRun, runCurve } from '../follow.ts';
import { count, wrap } from '../format.ts';
import { describeAdvice } from './advise.ts';
import { compare, describeComparison, describeExport, exportRun } from './judge.ts';
import { starterModel } from './model.ts';
import { describePlan } from './train.ts';

/** What the sample's owner would answer. */
const ANSWERS: Answers = {
  task: 'one-job',
  check: 'yes',
  flexibility: 'a-little',
  variety: 'varied',
  change: 'stable',
  cite: 'no',
  material: 'both',
};

/** Short enough to watch: one pass, and few looks at the unseen examples. */
const SHORT = { epochs: 1, evalEvery: 30, saveEvery: 30 };

export const demoCommand: Command = {
  name: 'demo',
  usage: '[--set key=value]...',
  summary: 'The whole way on the sample project: advice, training, comparison, export',
  args: [0, 0],
  options: { set: { type: 'string', multiple: true } },
  help: 'The training part is one pass over the sample, some minutes on two cores. --set epochs=3 trains longer.',
  async run(context) {
    const { client, say } = context;
    const began = performance.now();
    const step = (title: string): void => say(`\n── ${title} ${'─'.repeat(Math.max(0, 70 - title.length))}`);

    step('A project with data');
    const project = await client.call('projects.sample', {});
    const slug = project.slug;
    const datasets = await client.call('datasets.list', { project: slug });
    say(wrap(`“${project.name}”: ${project.goal}.`));
    for (const { name, kind, trainRows, heldOutRows, words } of datasets)
      say(
        `  ${name}: ${kind}, ${trainRows} to train on, ${heldOutRows} held out, ${words.toLocaleString('en-GB')} words`,
      );

    step('A base model');
    const model = await starterModel(context).catch((error: unknown) => {
      if (!(error instanceof FettleError) || error.code !== 'MODEL_UNAVAILABLE') throw error;
      say(
        wrap(
          `${error.message} The demo goes on with the tiny model that comes with Fettle, which knows next to nothing.`,
        ),
      );
      return starterModel(context, true);
    });
    say(
      wrap(
        `${model.name}: ${count(model.parameters)} parameters. It is an ${model.kind.value} model. ${model.kind.evidence.join(' ')}`,
      ),
    );
    await client.call('projects.update', { project: slug, model: model.id });

    step('Which way to tune');
    await client.call('strategy.answer', { project: slug, answers: ANSWERS });
    const advice = await client.call('strategy.advise', { project: slug, model: model.id });
    describeAdvice(context, advice);
    const strategy = advice.strategy === 'non-instruct' ? 'non-instruct' : 'instruct';
    const reason = strategy === advice.strategy ? '' : 'The demo shows one stage.';
    await client.call('strategy.choose', { project: slug, strategy, reason });

    step('The recipe');
    const request = { project: slug, model: model.id, strategy, set: { ...SHORT, ...pairs(context, 'set') } } as const;
    describePlan(context, await client.call('runs.plan', request));

    step('Training');
    const { id } = await client.call('runs.start', request);
    const run = await followRun(context, id);
    if (!context.json) say(await runCurve(context, id));
    describeEnd(context, run);

    step('Is it better?');
    const { result, ...comparison } = await compare(context, { project: slug, targets: [model.id, id], samples: 1 });
    describeComparison(context, { ...comparison, result });
    const samples = (result?.samples ?? []).map(({ prompt, answers }) => ({
      prompt,
      base: answers[0]?.text ?? '',
      tuned: answers[1]?.text ?? '',
    }));
    for (const { prompt, base, tuned } of samples) {
      say(`\n${wrap(prompt, '  > ')}`);
      say(`\n  Base model:\n${wrap(base, '    ')}`);
      say(`\n  Tuned:\n${wrap(tuned, '    ')}`);
    }

    step('Handing it over');
    const exported = await exportRun(context, { run: id, format: 'adapter' });
    describeExport(context, exported);
    say('\nOpen the workbench on it:  npm start');

    context.result({
      model: model.id,
      strategy,
      run: id,
      steps: run.step,
      tokens: run.tokens,
      tokensPerSecond: run.tokensPerSecond,
      heldOutLossBase: result?.losses[0]?.loss.value ?? null,
      heldOutLossTuned: result?.losses[1]?.loss.value ?? null,
      samples,
      adapterPath: exported.folder,
      peakMemoryBytes: run.peakMemoryBytes,
      trainingSeconds: run.seconds,
      seconds: (performance.now() - began) / 1000,
    });
  },
};
