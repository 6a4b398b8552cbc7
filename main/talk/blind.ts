/** @file Blind tests: two models answer the same prompts, a person chooses without knowing whose is whose. The only writer of tables blind and blind_item. */
import { randomInt } from 'node:crypto';
import { resolve } from 'node:path';
import { z } from 'zod';
import type { ParsedInputOf } from '../contract/api.ts';
import { ChatTurn, Sampling, Vote, type BlindTest, type Dataset, type ErrorInfo } from '../contract/entities.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import type { Datasets } from '../datasets/index.ts';
import { learnedFrom } from '../datasets/learned.ts';
import { openingOf } from '../datasets/opening.ts';
import { readRows, type StoredRow } from '../datasets/rows.ts';
import { learnedBy, resolveTarget, type ResolvedTarget } from '../evaluation/targets.ts';
import { countVotes } from '../evaluation/votes.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { Runs } from '../runs/index.ts';
import { turnsOf, type Generation } from './generation.ts';
import { promptsIn } from './inputs.ts';
import { delimited } from './outputs.ts';
import { revealOf } from './reveal.ts';

type Names = 'start' | 'list' | 'show' | 'vote' | 'undo' | 'reveal' | 'export' | 'delete';

const Request = z.object({
  targets: z.tuple([z.string(), z.string()]),
  labels: z.tuple([z.string(), z.string()]),
  source: z.string(),
  learned: z.object({ rows: z.int(), known: z.boolean() }).nullable().default(null),
  system: z.string(),
  sampling: Sampling,
});
type Request = z.infer<typeof Request>;
interface Row {
  readonly id: string;
  readonly project: string;
  readonly number: number;
  readonly request: string;
  readonly created_at: string;
  readonly revealed_at: string | null;
}
/** The second answers a prompt of a conversation's turns, or a text to go on from. */
const Prompt = z.union([z.string(), z.array(ChatTurn)]);
type Prompt = z.infer<typeof Prompt>;
const Item = z
  .object({
    number: z.int(),
    prompt: z.string().transform((text) => Prompt.parse(JSON.parse(text))),
    first: z.union([z.literal(0), z.literal(1)]),
    answers: z
      .string()
      .nullable()
      .transform((text) => (text === null ? null : z.tuple([z.string(), z.string()]).parse(JSON.parse(text)))),
    vote: Vote.nullable(),
    why: z.string(),
    voted_at: z.string().nullable(),
  })
  .transform(({ prompt, first, answers, ...item }) => ({
    ...item,
    prompt,
    asked: typeof prompt === 'string' ? prompt : (prompt.at(-1)?.content ?? ''),
    first,
    /** As they are shown. */
    shown: answers && { one: answers[first], two: answers[first === 0 ? 1 : 0] },
  }));
export type BlindItem = z.infer<typeof Item>;

/** Pairs that are answered ahead of the one that is judged. */
const AHEAD = 3;
/** In each block of so many, each model has the first place as often as the other. */
const BLOCK = 4;

export function createBlind(
  core: Core,
  parts: {
    readonly projects: Projects;
    readonly models: Models;
    readonly datasets: Datasets;
    readonly runs: Runs;
    readonly generation: Generation;
  },
): { handlers: Handlers<`blind.${Names}`> } {
  const { db } = core;
  const { projects, datasets, generation } = parts;
  /** Tests whose next pairs are being answered. */
  const filling = new Set<string>();
  /** Why the next pair of a test does not come. */
  const troubles = new Map<string, ErrorInfo>();

  const one = db.prepare<[string], Row>('SELECT * FROM blind WHERE id = ?');
  const itemsOf = (id: string): BlindItem[] =>
    db
      .prepare<[string]>('SELECT * FROM blind_item WHERE blind = ? ORDER BY number')
      .all(id)
      .map((item) => Item.parse(item));
  const row = (id: string): Row => {
    const found = one.get(id);
    if (!found)
      throw new FettleError(
        'INPUT_INVALID',
        `There is no blind test named ${JSON.stringify(id)}.`,
        '`fettle blind list PROJECT` shows those there are.',
      );
    return found;
  };
  const requestOf = (found: Row): Request => Request.parse(JSON.parse(found.request));
  const changed = ({ id, project }: Row): void => core.events.changed('blind', id, project);

  /** What may be known of it: before the end nothing tells whose answer is whose. */
  function view(found: Row): BlindTest {
    const { targets, labels, source, learned, system, sampling } = requestOf(found);
    const items = itemsOf(found.id);
    const votes = [0, 0];
    for (const { vote, first } of items)
      if (vote === 'one' || vote === 'two') votes[vote === 'one' ? first : 1 - first]!++;
    const chosen = (place: Vote): number => items.filter(({ vote }) => vote === place).length;
    const next = found.revealed_at === null ? items.find(({ vote }) => vote === null) : undefined;
    return {
      id: found.id,
      project: found.project,
      source,
      prompts: items.length,
      learned,
      system,
      sampling,
      count: countVotes(votes[0]!, votes[1]!, chosen('tie')),
      places: { one: chosen('one'), two: chosen('two') },
      next: next?.shown ? { number: next.number, prompt: next.asked, ...next.shown } : null,
      error: troubles.get(found.id) ?? null,
      createdAt: found.created_at,
      reveal: found.revealed_at === null ? null : revealOf(found.revealed_at, targets, labels, items),
    };
  }

  /** Answers the next pairs, in the background; what goes wrong is told with the test, and tried again when somebody looks. */
  async function fill(id: string): Promise<void> {
    if (filling.has(id)) return;
    filling.add(id);
    try {
      for (;;) {
        const found = one.get(id);
        if (!found || found.revealed_at !== null) return;
        const open = itemsOf(id).filter(({ vote }) => vote === null);
        const next = open.slice(0, AHEAD).find(({ shown }) => shown === null);
        if (!next) return;
        const { targets, sampling, system } = requestOf(found);
        const prompt =
          typeof next.prompt === 'string' ? next.prompt : turnsOf(system, next.prompt.slice(0, -1), next.asked);
        // Told only to us: no topic says which model says what.
        const asked = targets.map((target) => generation.ask(resolveTarget(parts, target), { prompt, sampling }));
        const told = await Promise.all(asked.map((each) => each.told));
        const answers = JSON.stringify(told.map(({ answer }) => answer.text.trim()));
        db.prepare('UPDATE blind_item SET answers = ? WHERE blind = ? AND number = ?').run(answers, id, next.number);
        troubles.delete(id);
        changed(found);
      }
    } catch (error) {
      const { code, message, hint } = toFettleError(error);
      troubles.set(id, { code, message, ...(hint ? { hint } : {}) });
      const found = core.db.open ? one.get(id) : undefined;
      if (found) changed(found);
    } finally {
      filling.delete(id);
    }
  }
  const show = (id: string): BlindTest => {
    const seen = view(row(id));
    if (!seen.error) void fill(id);
    return seen;
  };

  type Found = Pick<Request, 'source' | 'learned'> & { readonly prompts: Prompt[] };

  async function promptsFor(input: ParsedInputOf<'blind.start'>, targets: readonly ResolvedTarget[]): Promise<Found> {
    const { project, dataset, file, prompts, most } = input;
    if (prompts) return { source: 'your own prompts', learned: null, prompts: prompts.slice(0, most).map(user) };
    if (file !== undefined) {
      const found = await promptsIn(resolve(file), most);
      return { source: 'your own prompts, from a file', learned: null, prompts: found.map((turns) => [...turns]) };
    }
    const data = dataset === undefined ? withQuestions(datasets.list(project)) : datasets.show(project, dataset);
    const rows: { readonly prompt: Prompt; readonly row: StoredRow }[] = [];
    for await (const row of readRows(datasets.rowsFile(project, data.id))) {
      const prompt = row.split === 'held-out' ? promptOf(row) : undefined;
      if (prompt !== undefined) rows.push({ prompt, row });
    }
    const known = targets.map((target) => learnedBy(target, parts));
    const seen = await learnedFrom(
      rows.map(({ row }) => row),
      known.flatMap(({ files }) => files),
    );
    const left = rows.filter((_, i) => !seen[i]).map(({ prompt }) => prompt);
    if (rows.length > 0 && left.length === 0) throw allLearned(rows.length);
    return {
      source: `unseen rows of ${data.name}`,
      learned: { rows: rows.length - left.length, known: known.every((each) => each.known) },
      prompts: shuffled(left).slice(0, most),
    };
  }

  async function start(input: ParsedInputOf<'blind.start'>): Promise<BlindTest> {
    projects.show(input.project);
    const [a, b] = input.targets.map((target) => resolveTarget(parts, target));
    if (!a || !b || a.target === b.target)
      throw new FettleError('INPUT_INVALID', 'A model cannot be judged against itself.', 'Name two.');
    const { source, learned, prompts } = await promptsFor(input, [a, b]);
    if (prompts.length === 0)
      throw new FettleError(
        'DATA_EMPTY',
        'There is no prompt to judge by.',
        'Bring some, or hold rows out of the data.',
      );
    const { project, system, sampling } = input;
    const request: Request = { targets: input.targets, labels: [a.label, b.label], source, learned, system, sampling };
    const id = insert(project, request, prompts);
    const found = row(id);
    changed(found);
    return show(id);
  }

  const insert = db.transaction((project: string, request: Request, prompts: readonly Prompt[]): string => {
    const number =
      db
        .prepare<[string], { n: number }>('SELECT coalesce(max(number), 0) + 1 AS n FROM blind WHERE project = ?')
        .get(project)?.n ?? 1;
    const id = `${project}-blind-${number}`;
    db.prepare('INSERT INTO blind (id, project, number, request, created_at) VALUES (?, ?, ?, ?, ?)').run(
      id,
      project,
      number,
      JSON.stringify(request),
      core.clock.now(),
    );
    const put = db.prepare('INSERT INTO blind_item (blind, number, prompt, first) VALUES (?, ?, ?, ?)');
    const places = firstPlaces(prompts.length);
    for (const [i, prompt] of prompts.entries()) put.run(id, i + 1, JSON.stringify(prompt), places[i]);
    return id;
  });

  /** @throws INPUT_INVALID where the names are known already. */
  function blind(id: string): Row {
    const found = row(id);
    if (found.revealed_at !== null)
      throw new FettleError('INPUT_INVALID', 'The names of this test are known, so it is over.', 'Start another one.');
    return found;
  }
  function vote({ blind: id, number, vote: chosen, why }: ParsedInputOf<'blind.vote'>): BlindTest {
    const found = blind(id);
    const item = itemsOf(id).find((each) => each.number === number);
    if (!item?.shown)
      throw new FettleError(
        'INPUT_INVALID',
        `There is no pair ${number} to judge yet.`,
        'Judge the one that is shown.',
      );
    if (item.vote !== null)
      throw new FettleError('INPUT_INVALID', `Pair ${number} is judged already.`, 'Take the vote back first.');
    db.prepare('UPDATE blind_item SET vote = ?, why = ?, voted_at = ? WHERE blind = ? AND number = ?').run(
      chosen,
      why,
      core.clock.now(),
      id,
      number,
    );
    changed(found);
    return show(id);
  }
  function undo(id: string): BlindTest {
    const found = blind(id);
    const last = itemsOf(id).findLast(({ vote: given }) => given !== null);
    if (!last) throw new FettleError('INPUT_INVALID', 'There is no vote to take back.', 'Judge a pair first.');
    db.prepare("UPDATE blind_item SET vote = NULL, why = '', voted_at = NULL WHERE blind = ? AND number = ?").run(
      id,
      last.number,
    );
    changed(found);
    return show(id);
  }
  function reveal(id: string): BlindTest {
    const found = blind(id);
    if (view(found).count.votes === 0)
      throw new FettleError('INPUT_INVALID', 'Nothing was judged yet.', 'Judge some pairs first.');
    db.prepare('UPDATE blind SET revealed_at = ? WHERE id = ?').run(core.clock.now(), id);
    troubles.delete(id);
    changed(found);
    return view(row(id));
  }

  function exported({ blind: id, format }: ParsedInputOf<'blind.export'>): { name: string; text: string } {
    const test = view(row(id));
    if (!test.reveal)
      throw new FettleError(
        'INPUT_INVALID',
        'What was chosen can be saved once the names are shown.',
        `\`fettle blind reveal ${id}\` shows them.`,
      );
    const name = `${id}.${format}`;
    if (format === 'json') return { name, text: `${JSON.stringify(test, null, 2)}\n` };
    const head = ['number', 'prompt', 'one', 'answer one', 'two', 'answer two', 'chosen', 'why', 'at'];
    const lines = test.reveal.items.map((item) => [
      item.number,
      item.prompt,
      item.one.target,
      item.one.text,
      item.two.target,
      item.two.text,
      item.vote === 'tie' ? 'no difference' : item[item.vote].target,
      item.why,
      item.at,
    ]);
    return { name, text: [head, ...lines].map((cells) => delimited(cells)).join('') };
  }

  return {
    handlers: {
      'blind.start': start,
      'blind.list': ({ project }) => {
        projects.show(project);
        return db
          .prepare<[string], Row>('SELECT * FROM blind WHERE project = ? ORDER BY number DESC')
          .all(project)
          .map(view);
      },
      'blind.show': ({ blind: id }) => {
        // Whoever looks again wants it tried again.
        troubles.delete(id);
        return show(id);
      },
      'blind.vote': vote,
      'blind.undo': ({ blind: id }) => undo(id),
      'blind.reveal': ({ blind: id }) => reveal(id),
      'blind.export': exported,
      'blind.delete': ({ blind: id }) => {
        const found = row(id);
        db.prepare('DELETE FROM blind WHERE id = ?').run(id);
        troubles.delete(id);
        changed(found);
        return { ok: true };
      },
    },
  };
}

/** The newest data that hold questions which no model learned from. @throws DATASET_NOT_FOUND, DATA_EMPTY */
function withQuestions(all: readonly Dataset[]): Dataset {
  const found = all.find(({ kind, heldOutRows }) => kind !== 'prose' && heldOutRows > 0);
  if (found) return found;
  if (all.length === 0)
    throw new FettleError(
      'DATASET_NOT_FOUND',
      'This project has no data to take questions from.',
      'Import data, or bring prompts of your own.',
    );
  throw new FettleError(
    'DATA_EMPTY',
    'None of this project’s data holds questions with rows held out.',
    'Bring prompts of your own, import examples with some held out, or name prose as the data: both then go on from its first words.',
  );
}

/** What comes before the first answer, or how a document begins. */
function promptOf({ messages, text }: StoredRow): Prompt | undefined {
  if (text !== undefined) return openingOf(text);
  const first = messages?.findIndex((turn) => turn.role === 'assistant') ?? -1;
  return messages && first > 0 ? messages.slice(0, first) : undefined;
}

const allLearned = (rows: number): FettleError =>
  new FettleError(
    'DATA_EMPTY',
    `${rows === 1 ? 'The only unseen row' : `Each of the ${rows} unseen rows`} of these data is among those that one of the two, or a stage under it, was trained on.`,
    'Name other data, or bring prompts of your own.',
  );

const user = (content: string): Prompt => [{ role: 'user', content }];

/** Who has the first place, by chance, and in each block of four each twice: not even a test that is ended early leans. */
export function firstPlaces(count: number): (0 | 1)[] {
  const places: (0 | 1)[] = [];
  while (places.length < count)
    places.push(...shuffled(Array.from({ length: BLOCK }, (_, i) => (i < BLOCK / 2 ? 0 : 1))));
  return places.slice(0, count);
}

/** Fisher and Yates, by the system's own chance: nobody can know the order from the test's name or its time. */
function shuffled<T>(list: readonly T[]): T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = randomInt(i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}
