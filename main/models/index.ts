/** @file The library of base models. The only writer of table model. */
import { rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { Job, Model } from '../contract/entities.ts';
import { TARGET_MODULES } from '../contract/recipe.ts';
import { FettleError } from '../contract/errors.ts';
import type { Core, WorkerHandle } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import { readSpec, type PreparedAt } from '../engine/index.ts';
import type { ModelSpec } from '../engine/architectures/spec.ts';
import type { ChatTemplate, HfConfig, Tokenizer } from '../formats/model.ts';
import { openModel } from '../formats/open.ts';
import { conversationTemplate } from '../formats/plain-template.ts';
import { freeSlug, slugify } from '../projects/index.ts';
import { availableMemory } from '../core/memory.ts';
import { resource } from '../core/resources.ts';
import { trainingMemory } from '../recipes/memory.ts';
import type { ModelEvent, ModelJob } from '../workers/model.ts';
import type { AddedModel, ModelFacts } from './library.ts';

interface Row {
  id: string;
  name: string;
  path: string;
  hash: string;
  facts: string;
  added_at: string;
}
type Names = 'models.list' | 'models.show' | 'models.add' | 'models.starter' | 'models.delete';

export interface Models {
  readonly handlers: Handlers<Names>;
  show(id: string): Model;
  /** Absolute path that openModel takes. */
  pathOf(id: string): string;
  /** Where its weights in fewer bits are kept once they are made; deleted with it. */
  preparedAt(id: string): PreparedAt;
  /** What the engine makes of its config. @throws FORMAT_*, FILE_* where its files cannot be read. */
  spec(id: string): Promise<ModelSpec>;
  /** Tokenizer and template (its own, else the plain one) of a model, kept for the next call. */
  text(id: string): Promise<{ readonly tokenizer: Tokenizer; readonly template: ChatTemplate }>;
}

const STARTER_ID = 'smollm2-135m-instruct';
/** A model of 2.8 million numbers that comes with Fettle. */
const BUNDLED = { id: 'fettle-tiny', name: 'Fettle tiny' };

export function createModels(core: Core): Models {
  const { db } = core;
  const select = db.prepare<[string], Row>('SELECT * FROM model WHERE id = ?');
  const all = db.prepare<[], Row>('SELECT * FROM model ORDER BY added_at, id');
  const specs = new Map<string, ModelSpec>();
  const texts = new Map<string, Promise<{ tokenizer: Tokenizer; template: ChatTemplate }>>();
  /** What a waiting job is to do; a job that is found without it after a restart is interrupted anyway. */
  const requests = new Map<
    string,
    { readonly from: 'path'; readonly path: string; readonly name: string } | { readonly from: 'starter' }
  >();

  const row = (id: string): Row => {
    const found = select.get(id);
    if (!found)
      throw new FettleError(
        'MODEL_NOT_FOUND',
        `There is no model named ${JSON.stringify(id)}.`,
        '`fettle model list` shows those there are.',
      );
    return found;
  };
  /** Models that were added when Llama was all there was name no modules, and others no config. */
  const factsOf = (found: Row): Omit<ModelFacts, 'config'> & { readonly config: HfConfig | null } => {
    const kept = JSON.parse(found.facts) as Omit<ModelFacts, 'modules'> & Partial<ModelFacts>;
    return { ...kept, modules: kept.modules ?? [...TARGET_MODULES], config: kept.config ?? null };
  };
  const specOf = (hash: string, config: HfConfig | null): ModelSpec | undefined => {
    const known = specs.get(hash);
    if (known || !config) return known;
    const spec = readSpec(config);
    specs.set(hash, spec);
    return spec;
  };
  const view = (found: Row): Model => {
    const { config, ...facts } = factsOf(found);
    const spec = specOf(found.hash, config);
    // Until the config of one that was added long ago is written down: what its weights take.
    const neededBytes = spec ? trainingMemory({ ...facts, spec }, {}, { threads: core.threads }) : facts.parameters * 4;
    const freeBytes = availableMemory();
    return {
      ...facts,
      id: found.id,
      name: found.name,
      hash: found.hash,
      addedAt: found.added_at,
      memory: { neededBytes, freeBytes, fits: neededBytes <= freeBytes },
    };
  };
  const pathOf = (id: string): string => join(core.home.models, row(id).path);
  const taken = (id: string): boolean =>
    select.get(id) !== undefined ||
    existsSync(join(core.home.models, id)) ||
    // One that was cancelled before it began takes no name.
    (requests.has(id) && core.jobs.of('model', id)?.finishedAt === null);

  core.jobs.handle('model', (control) => bring(control.job.subject, control));
  core.jobs.handle('starter', (control) => bring(control.job.subject, control));

  async function bring(
    id: string,
    control: Parameters<Parameters<typeof core.jobs.handle>[1]>[0],
  ): Promise<'completed' | 'cancelled'> {
    const request = requests.get(id);
    if (!request)
      throw new FettleError('INTERRUPTED', 'Fettle was closed before the model was added.', 'Add it again.');
    const target = join(core.home.models, id);
    const job: ModelJob =
      request.from === 'path'
        ? { from: 'path', path: request.path, target }
        : { from: 'starter', target, downloads: join(core.home.temporary, 'starter') };
    let cancelled = false;
    try {
      control.update({ state: 'running' });
      const worker: WorkerHandle<AddedModel> = core.workers.run<ModelEvent, AddedModel>(
        'model',
        job,
        ({ stage, share }) => control.update({ stage, progress: share }),
      );
      control.onAsk((ask) => {
        cancelled = true;
        worker.ask(ask === 'pause' ? 'cancel' : ask);
        worker.ask('cancel');
      });
      const added = await worker.result;
      db.prepare('INSERT INTO model (id, name, path, hash, facts, added_at) VALUES (?, ?, ?, ?, ?, ?)').run(
        id,
        request.from === 'path' ? request.name || added.name : added.name,
        added.entry ? `${id}/${added.entry}` : id,
        added.hash,
        JSON.stringify(added.facts),
        core.clock.now(),
      );
      core.events.changed('model', id, null);
      return 'completed';
    } catch (error) {
      if (cancelled) return 'cancelled';
      throw error;
    } finally {
      requests.delete(id);
    }
  }

  const add = (path: string, name?: string): Job => {
    const absolute = resolve(path);
    if (!existsSync(absolute))
      throw new FettleError('FILE_NOT_FOUND', `${path} does not exist.`, 'Give a Hugging Face folder or a GGUF file.');
    if (name && select.get(slugify(name)))
      throw new FettleError(
        'MODEL_EXISTS',
        `There is already a model named ${JSON.stringify(name)}.`,
        'Choose another name with --name, or delete the other one first.',
      );
    const title = name ?? basename(absolute).replace(/\.gguf$/i, '');
    const id = freeSlug(title, taken);
    requests.set(id, { from: 'path', path: absolute, name: name ?? '' });
    return core.jobs.enqueue({ kind: 'model', project: null, subject: id, title: `Adding ${title}` });
  };

  return {
    show: (id) => view(row(id)),
    pathOf,
    preparedAt: (id) => ({ folder: core.home.prepared, name: id, hash: row(id).hash }),
    async spec(id) {
      const found = row(id);
      const known = specOf(found.hash, factsOf(found).config);
      if (known) return known;
      const { config, close } = await openModel(pathOf(id));
      await close();
      db.prepare('UPDATE model SET facts = ? WHERE id = ?').run(
        JSON.stringify({ ...(JSON.parse(found.facts) as object), config }),
        id,
      );
      return specOf(found.hash, config)!;
    },
    text(id) {
      const { hash } = row(id);
      const known = texts.get(hash);
      if (known) return known;
      const text = openModel(pathOf(id)).then(async (model) => {
        await model.close();
        return { tokenizer: model.tokenizer, template: conversationTemplate(model) };
      });
      text.catch(() => texts.delete(hash));
      texts.set(hash, text);
      return text;
    },
    handlers: {
      'models.list': () => all.all().map(view),
      'models.show': ({ model }) => view(row(model)),
      'models.add': ({ path, name }) => add(path, name),
      'models.starter': ({ bundled }) => {
        const id = bundled ? BUNDLED.id : STARTER_ID;
        const found = select.get(id);
        if (found) return { model: view(found), job: null };
        const waiting = core.jobs
          .list({ active: true })
          .find(({ kind, subject }) => kind === 'starter' && subject === id);
        if (waiting) return { model: null, job: waiting };
        requests.set(
          id,
          bundled ? { from: 'path', path: resource('starter'), name: BUNDLED.name } : { from: 'starter' },
        );
        const title = bundled ? `Adding ${BUNDLED.name}` : 'Getting the starter model';
        return { model: null, job: core.jobs.enqueue({ kind: 'starter', project: null, subject: id, title }) };
      },
      'models.delete': async ({ model }) => {
        core.inUse.check('MODEL_IN_USE', row(model).name, [`model:${model}`]);
        db.prepare('DELETE FROM model WHERE id = ?').run(model);
        for (const folder of [core.home.models, core.home.prepared])
          await rm(join(folder, model), { recursive: true, force: true });
        core.events.changed('model', model, null);
        return { ok: true };
      },
    },
  };
}
