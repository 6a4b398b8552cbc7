/** @file fettle model: the library of base models. */
import { resolve } from 'node:path';
import type { Model } from '../../contract/entities.ts';
import { FettleError } from '../../contract/errors.ts';
import { text, type Command, type Context } from '../command.ts';
import { bytes, count, listed, table } from '../format.ts';
import { waitForJob } from '../wait.ts';

/** The starter model: from the library, else fetched, or the tiny one that comes with Fettle. @throws MODEL_UNAVAILABLE */
export async function starterModel(context: Context, bundled = false): Promise<Model> {
  const { model, job } = await context.client.call('models.starter', { bundled });
  if (model) return model;
  await waitForJob(context, job!.id);
  return context.client.call('models.show', { model: job!.subject });
}

function describe({ say }: Context, model: Model): void {
  say(`${model.name} (${model.id})`);
  say(
    table([
      [
        '  architecture',
        `${model.architecture}, ${count(model.parameters)} parameters, ${model.layers} layers, ${count(model.contextLength)} tokens of context`,
      ],
      ['  stored as', `${model.storage}, ${bytes(model.bytes)} (${model.format})`],
      ['  kind', model.kind.value],
      ...model.kind.evidence.map((sentence) => ['', sentence]),
      ['  chat template', model.hasChatTemplate ? 'yes' : 'no'],
      ['  licence', model.license ?? 'not stated in its files'],
      [
        '  training takes',
        `about ${bytes(model.memory.neededBytes)} of memory; ${bytes(model.memory.freeBytes)} are free${model.memory.fits ? '' : ': it does not fit now'}`,
      ],
    ]),
  );
}

export const modelCommands: readonly Command[] = [
  {
    name: 'model starter',
    usage: '[--bundled]',
    summary: 'Fetch SmolLM2-135M-Instruct, a small model to begin with',
    args: [0, 0],
    options: { bundled: { type: 'boolean' } },
    help: '--bundled takes a tiny model that comes with Fettle, for a first try without a network: it knows next to nothing.',
    async run(context) {
      const model = await starterModel(context, context.options['bundled'] === true);
      context.result(model);
      describe(context, model);
    },
  },
  {
    name: 'model add',
    usage: 'PATH [--name NAME]',
    summary: 'Add a base model: a Hugging Face folder or a GGUF file',
    args: [1, 1],
    options: { name: { type: 'string' } },
    async run(context) {
      const name = text(context, 'name');
      const job = await context.client.call('models.add', {
        path: resolve(context.args[0]!),
        ...(name === undefined ? {} : { name }),
      });
      await waitForJob(context, job.id);
      const model = await context.client.call('models.show', { model: job.subject });
      context.result(model);
      describe(context, model);
    },
  },
  {
    name: 'model list',
    usage: '',
    summary: 'The models in the library',
    args: [0, 0],
    async run(context) {
      const models = await context.client.call('models.list', {});
      context.result(models);
      context.say(
        listed(
          models,
          'The library is empty. `fettle model starter` fetches a small model, `fettle model add PATH` adds one that you have.',
          ['model', 'name', 'kind', 'parameters', 'size'],
          (m) => [m.id, m.name, m.kind.value, count(m.parameters), bytes(m.bytes)],
        ),
      );
    },
  },
  {
    name: 'model show',
    usage: 'MODEL',
    summary: 'One model: what it is, and whether this machine can train it',
    args: [1, 1],
    async run(context) {
      const model = await context.client.call('models.show', { model: context.args[0]! });
      context.result(model);
      describe(context, model);
    },
  },
  {
    name: 'model delete',
    usage: 'MODEL --yes',
    summary: 'Remove a model from the library',
    args: [1, 1],
    options: { yes: { type: 'boolean' } },
    async run(context) {
      const [model = ''] = context.args;
      if (context.options['yes'] !== true)
        throw new FettleError(
          'CONFIRM_NEEDED',
          `Deleting ${model} removes its files from the library; runs made on it can then not go on.`,
          'Add --yes if that is what you want.',
        );
      context.result(await context.client.call('models.delete', { model }));
      context.say(`${model} is deleted.`);
    },
  },
];
