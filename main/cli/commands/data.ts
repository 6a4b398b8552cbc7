/** @file fettle data: bring data in, look at what was recognised, dropped and found, clean it, and see rows as a model does. */
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  DatasetKind,
  Mark,
  MARKS,
  PersonalKind,
  type Dataset,
  type DatasetRow,
  type Quality,
} from '../../contract/entities.ts';
import { FettleError } from '../../contract/errors.ts';
import { needed, number, pairs, text, type Command, type Context } from '../command.ts';
import { bytes, count, listed, wrap } from '../format.ts';
import { waitForJob } from '../wait.ts';

function describe({ say }: Context, dataset: Dataset): void {
  say(`${dataset.name} (${dataset.id}): ${dataset.kind}`);
  say(
    wrap(
      `${count(dataset.rows)} rows, ${count(dataset.trainRows)} to train on, ${count(dataset.heldOutRows)} held out; ${count(dataset.words)} words.`,
      '  ',
    ),
  );
  for (const { name, rows, evidence } of dataset.shapes)
    say(wrap(`Recognised as ${name} (${count(rows)} rows): ${evidence.join(', ')}.`, '  '));
  for (const { reason, count: dropped, examples } of dataset.dropped) {
    const [first] = examples;
    say(
      wrap(
        `Left out ${count(dropped)}: ${reason}${first ? ` (first in ${first.file}${first.line === null ? '' : `, line ${first.line}`})` : ''}.`,
        '  ',
      ),
    );
  }
  for (const { file, what, count: times, examples } of dataset.removed.slice(0, 10))
    say(wrap(`${file}: ${count(times)} ${what} removed${examples[0] ? `, such as “${examples[0]}”` : ''}.`, '  '));
  for (const file of dataset.files.filter((each) => each.error))
    say(wrap(`${file.name} was not read: ${file.error!.message.replace(`${file.name}: `, '')}`, '  '));
  for (const { at, words } of dataset.steps.slice(1)) say(wrap(`${at.slice(0, 10)} ${words}.`, '  '));
}

function describeQuality({ say }: Context, quality: Quality): void {
  for (const { title, mark, count: rows, advice } of quality.checks)
    say(wrap(`${title}: ${count(rows)} of ${count(quality.rows)} rows (${mark}). ${advice}`, '  '));
  if (quality.checks.length === 0) say('  Nothing was found that should be looked at.');
  const { found, judged, sampled } = quality.languages;
  if (found.length > 0)
    say(
      wrap(
        `Languages${sampled ? `, of a sample of ${count(judged)} rows` : ''}: ${found.map((it) => `${it.name} ${count(it.rows)}`).join(', ')}.`,
        '  ',
      ),
    );
  if (quality.labels)
    say(wrap(`Answers: ${quality.labels.map((it) => `“${it.label}” ${count(it.rows)}`).join(', ')}.`, '  '));
}

/** The version that is named, else the newest. */
async function datasetOf({ client, args: [project = '', named] }: Context): Promise<Dataset> {
  const found = named
    ? await client.call('datasets.show', { project, dataset: named })
    : (await client.call('datasets.list', { project }))[0];
  if (found) return found;
  throw new FettleError(
    'DATASET_NOT_FOUND',
    'This project has no data yet.',
    '`fettle data import PROJECT PATH` brings some in.',
  );
}

async function qualityOf(context: Context, dataset: Dataset): Promise<Quality | null> {
  const about = { project: dataset.project, dataset: dataset.id };
  const { quality, job } = await context.client.call('datasets.quality', about);
  if (!job) return quality;
  await waitForJob(context, job.id);
  return (await context.client.call('datasets.quality', about)).quality;
}

/** What a job made: the versions that carry its id. */
async function made(context: Context, project: string, job: string): Promise<Dataset[]> {
  await waitForJob(context, job);
  return (await context.client.call('datasets.list', { project })).filter((dataset) => dataset.job === job);
}

/** Ends with the new version, told to people and to programs. */
async function tellMade(context: Context, project: string, job: string): Promise<void> {
  const versions = await made(context, project, job);
  context.result(versions.length === 1 ? versions[0] : versions);
  for (const version of versions) {
    describe(context, version);
    const quality = await qualityOf(context, version);
    if (quality) describeQuality(context, quality);
  }
}

function oneOf<T extends string>(kind: { options: readonly T[] }, values: readonly string[], option: string): T[] {
  return values.map((value) => {
    const found = kind.options.find((each) => each === value);
    if (!found)
      throw new FettleError('USAGE', `--${option} takes ${kind.options.join(', ')}, not ${JSON.stringify(value)}.`);
    return found;
  });
}
const list = (context: Context, name: string): string[] =>
  (text(context, name) ?? '').split(',').filter((it) => it !== '');

const mapOf = (context: Context): Record<string, string> =>
  Object.fromEntries(Object.entries(pairs(context, 'map')).map(([meaning, column]) => [meaning, String(column)]));

function lineOf({ index, split, messages, text: prose, marks }: DatasetRow): string {
  const said = prose ?? (messages ?? []).map((turn) => `${turn.role}: ${turn.content}`).join(' | ');
  return `${String(index).padStart(6)} ${split === 'train' ? ' ' : 'h'} ${said.replace(/\s+/g, ' ').slice(0, 140)}${marks.length > 0 ? `  [${marks.join(', ')}]` : ''}`;
}

const IMPORT_OPTIONS = {
  kind: { type: 'string' },
  map: { type: 'string', multiple: true },
  name: { type: 'string' },
  'held-out': { type: 'string' },
} as const;

export const dataCommands: readonly Command[] = [
  {
    name: 'data preview',
    usage: 'PATH... [--map response=answer]...',
    summary: 'What files hold, before they are brought in',
    args: [1, 1000],
    options: { map: IMPORT_OPTIONS.map },
    async run(context) {
      const preview = await context.client.call('datasets.preview', {
        paths: context.args.map((path) => resolve(path)),
        map: mapOf(context),
      });
      context.result(preview);
      for (const { name, bytes: size, kind, shapes, readings, columns, error } of preview.files) {
        context.say(`${name} (${bytes(size)}): ${error ? 'not read' : (kind ?? 'nothing')}`);
        for (const shape of shapes) context.say(wrap(`${shape.name}: ${shape.evidence.join(', ')}`, '  '));
        if (error) context.say(wrap(`${error.message} ${error.hint ?? ''}`, '  '));
        if (columns.length > 0 && (error || readings.length > 0))
          context.say(wrap(`Columns: ${columns.map((column) => column.name).join(', ')}`, '  '));
      }
      if (preview.more > 0) context.say(`and ${count(preview.more)} more files.`);
    },
  },
  {
    name: 'data import',
    usage: 'PROJECT PATH... [--kind KIND] [--map response=answer]... [--name NAME] [--held-out 0.1]',
    summary: 'Bring in files, folders or archives: examples or text',
    args: [2, 1000],
    options: IMPORT_OPTIONS,
    help: 'Reads JSONL, JSON, CSV, TSV, Parquet, TXT, Markdown, HTML, DOCX, PDF, EPUB, ZIP and folders of them.\nKIND is instruction, conversation, prose or preference; it is recognised where it is left out.\n--map says which column means what, for example --map instruction=question --map response=answer.\nMeanings are instruction, input, response, system, messages, tools, instances, prompt, chosen, rejected, text.',
    async run(context) {
      const [project = '', ...paths] = context.args;
      const [kind] = oneOf(DatasetKind, list(context, 'kind'), 'kind');
      const map = mapOf(context);
      const name = text(context, 'name');
      const heldOut = number(context, 'held-out');
      if (heldOut !== undefined && !(heldOut >= 0.01 && heldOut <= 0.5))
        throw new FettleError(
          'USAGE',
          `--held-out takes a share from 0.01 to 0.5, not ${heldOut}.`,
          '0.1 keeps a tenth of the rows aside.',
        );
      const job = await context.client.call('datasets.import', {
        project,
        paths: paths.map((path) => resolve(path)),
        ...(kind ? { kind } : {}),
        ...(Object.keys(map).length > 0 ? { map } : {}),
        ...(name === undefined ? {} : { name }),
        ...(heldOut === undefined ? {} : { heldOut }),
      });
      await tellMade(context, project, job.id);
    },
  },
  {
    name: 'data list',
    usage: 'PROJECT',
    summary: 'The datasets of a project',
    args: [1, 1],
    async run(context) {
      const datasets = await context.client.call('datasets.list', { project: context.args[0]! });
      context.result(datasets);
      context.say(
        listed(
          datasets,
          'No data yet. `fettle data import PROJECT PATH` brings some in.',
          ['dataset', 'name', 'kind', 'rows', 'held out', 'made from'],
          (d) => [d.id, d.name, d.kind, count(d.rows), count(d.heldOutRows), d.parent ?? ''],
        ),
      );
    },
  },
  {
    name: 'data show',
    usage: 'PROJECT [DATASET] [--model MODEL] [--max-length 512]',
    summary: 'One dataset: counts, what was left out and found, a row as the model sees it',
    args: [1, 2],
    options: { model: { type: 'string' }, 'max-length': { type: 'string' } },
    async run(context) {
      const { client } = context;
      const dataset = await datasetOf(context);
      const model = text(context, 'model');
      const maxLength = number(context, 'max-length') ?? 512;
      const about = { project: dataset.project, dataset: dataset.id };
      const quality = await qualityOf(context, dataset);
      let tokens = null;
      if (model !== undefined) {
        const asked = await client.call('datasets.tokens', { ...about, model, maxLength });
        if (asked.job) await waitForJob(context, asked.job.id);
        tokens = asked.stats ?? (await client.call('datasets.tokens', { ...about, model, maxLength })).stats;
      }
      const row =
        model === undefined ? null : await client.call('datasets.render', { ...about, model, index: 0, maxLength });
      context.result({ ...dataset, quality, tokens, row });
      describe(context, dataset);
      if (quality) describeQuality(context, quality);
      if (tokens)
        context.say(
          wrap(
            `In tokens: ${count(tokens.tokens)} in all, ${count(tokens.labelled)} carry loss; a row has ${count(tokens.median)} (median), the longest ${count(tokens.longest)}${tokens.truncated > 0 ? `; ${count(tokens.truncated)} rows would be cut at ${count(maxLength)}` : ''}.`,
            '  ',
          ),
        );
      if (row) {
        context.say('\nThe first row as the model sees it; what it learns stands in [brackets]:');
        let open = false;
        const shown = row.tokens.map(({ text: piece, loss }) => {
          const mark = loss === open ? '' : loss ? '[' : ']';
          open = loss;
          return mark + piece;
        });
        context.say(shown.join('') + (open ? ']' : ''));
      }
    },
  },
  {
    name: 'data rows',
    usage: 'PROJECT DATASET [--search TEXT] [--mark MARK] [--offset N] [--limit 20]',
    summary: 'Rows of a dataset, searched or by what was found in them',
    args: [2, 2],
    options: {
      search: { type: 'string' },
      mark: { type: 'string' },
      offset: { type: 'string' },
      limit: { type: 'string' },
    },
    help: `MARK is one of ${MARKS.join(', ')}.`,
    async run(context) {
      const [project = '', dataset = ''] = context.args;
      const [mark] = oneOf(Mark, list(context, 'mark'), 'mark');
      const search = text(context, 'search');
      const page = await context.client.call('datasets.rows', {
        project,
        dataset,
        offset: number(context, 'offset') ?? 0,
        limit: number(context, 'limit') ?? 20,
        ...(search === undefined ? {} : { search }),
        ...(mark ? { mark } : {}),
      });
      context.result(page);
      for (const row of page.rows) context.say(lineOf(row));
      context.say(page.total === null ? 'There are more.' : `${count(page.total)} in all.`);
    },
  },
  {
    name: 'data dropped',
    usage: 'PROJECT DATASET [--reason TEXT] [--out FILE]',
    summary: 'Rows that were left out, with why; --out writes them all as JSONL',
    args: [2, 2],
    options: { reason: { type: 'string' }, out: { type: 'string' } },
    async run(context) {
      const [project = '', dataset = ''] = context.args;
      const reason = text(context, 'reason');
      const out = text(context, 'out');
      const about = { project, dataset, ...(reason === undefined ? {} : { reason }) };
      if (out === undefined) {
        const page = await context.client.call('datasets.dropped', about);
        context.result(page);
        for (const row of page.rows)
          context.say(
            `${row.file}${row.line === null ? '' : `:${row.line}`}  ${row.reason}\n    ${row.raw.replace(/\s+/g, ' ').slice(0, 160)}`,
          );
        context.say(`${count(page.total)} in all.`);
        return;
      }
      const file = createWriteStream(resolve(out), { flags: 'wx' });
      const failed = new Promise<never>((_, reject) => file.once('error', reject));
      let written = 0;
      for (;;) {
        const { rows } = await context.client.call('datasets.dropped', { ...about, offset: written, limit: 1000 });
        if (rows.length === 0) break;
        const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
        await Promise.race([new Promise<void>((done) => file.write(text, () => done())), failed]);
        written += rows.length;
      }
      await Promise.race([new Promise<void>((done) => file.end(() => done())), failed]);
      context.result({ file: resolve(out), rows: written });
      context.say(`${count(written)} rows are in ${out}.`);
    },
  },
  {
    name: 'data clean',
    usage: 'PROJECT DATASET --drop MARK,MARK [--longer-than N --model MODEL]',
    summary: 'A new version without the rows that carry these marks',
    args: [2, 2],
    options: { drop: { type: 'string' }, 'longer-than': { type: 'string' }, model: { type: 'string' } },
    help: `MARK is one of ${MARKS.join(', ')}. The version that you clean stays as it is.`,
    async run(context) {
      const dataset = await datasetOf(context);
      await qualityOf(context, dataset);
      const drop = oneOf(Mark, list(context, 'drop'), 'drop');
      const tokens = number(context, 'longer-than');
      if (drop.length === 0 && tokens === undefined)
        throw new FettleError('USAGE', 'Nothing was chosen.', 'Name marks with --drop.');
      const about = { project: dataset.project, dataset: dataset.id };
      const model = tokens === undefined ? undefined : needed(context, 'model');
      if (model !== undefined) {
        const { job } = await context.client.call('datasets.tokens', { ...about, model });
        if (job) await waitForJob(context, job.id);
      }
      const longerThan = tokens === undefined || model === undefined ? {} : { longerThan: { model, tokens } };
      const job = await context.client.call('datasets.clean', { ...about, drop, ...longerThan });
      await tellMade(context, dataset.project, job.id);
    },
  },
  {
    name: 'data mask',
    usage: 'PROJECT DATASET --kinds mail,phone,card,id-number',
    summary: 'A new version with personal data replaced by its kind in brackets',
    args: [2, 2],
    options: { kinds: { type: 'string' } },
    async run(context) {
      const [project = '', dataset = ''] = context.args;
      const kinds = oneOf(PersonalKind, list(context, 'kinds'), 'kinds');
      if (kinds.length === 0)
        throw new FettleError('USAGE', 'Nothing was chosen.', `--kinds takes ${PersonalKind.options.join(', ')}.`);
      await tellMade(context, project, (await context.client.call('datasets.mask', { project, dataset, kinds })).id);
    },
  },
  {
    name: 'data edit',
    usage: 'PROJECT DATASET [--remove 3,17] [--set 5=FILE.json]... [--add FILE.jsonl]',
    summary: 'A new version with rows removed, replaced or added',
    args: [2, 2],
    options: { remove: { type: 'string' }, set: { type: 'string', multiple: true }, add: { type: 'string' } },
    help: 'A row is {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]} or {"text": "…"}.',
    async run(context) {
      const [project = '', dataset = ''] = context.args;
      const changes = [
        ...list(context, 'remove').map((index) => ({ index: Number(index), row: null })),
        ...(await Promise.all(
          Object.entries(pairs(context, 'set')).map(async ([index, file]) => ({
            index: Number(index),
            row: (await jsonRows(String(file)))[0] ?? null,
          })),
        )),
      ];
      const added = text(context, 'add');
      const add = added === undefined ? [] : await jsonRows(added);
      const job = await context.client.call('datasets.edit', { project, dataset, changes, add } as never);
      await tellMade(context, project, job.id);
    },
  },
  {
    name: 'data chosen',
    usage: 'PROJECT DATASET',
    summary: 'A new version of pairs from the chosen answers of preferences',
    args: [2, 2],
    async run(context) {
      const [project = '', dataset = ''] = context.args;
      await tellMade(context, project, (await context.client.call('datasets.chosen', { project, dataset })).id);
    },
  },
  {
    name: 'data delete',
    usage: 'PROJECT DATASET --yes',
    summary: 'Delete a dataset',
    args: [2, 2],
    options: { yes: { type: 'boolean' } },
    async run(context) {
      const [project = '', dataset = ''] = context.args;
      if (context.options['yes'] !== true)
        throw new FettleError(
          'CONFIRM_NEEDED',
          `Deleting ${dataset} cannot be undone.`,
          'Add --yes if that is what you want.',
        );
      context.result(await context.client.call('datasets.delete', { project, dataset }));
      context.say(`${dataset} is deleted.`);
    },
  },
];

/** Rows of a JSON or JSONL file, as they are. @throws FILE_NOT_FOUND, FORMAT_INVALID */
async function jsonRows(path: string): Promise<unknown[]> {
  const lines = (await readFile(resolve(path), 'utf8')).trim();
  try {
    const whole: unknown = JSON.parse(lines);
    return Array.isArray(whole) ? whole : [whole];
  } catch {
    try {
      return lines.split('\n').map((line) => JSON.parse(line) as unknown);
    } catch {
      throw new FettleError('FORMAT_INVALID', `${path} is neither JSON nor JSONL.`);
    }
  }
}
