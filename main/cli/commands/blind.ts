/** @file fettle blind: two models judged by keys, without their names. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { BlindTest, Vote } from '../../contract/entities.ts';
import { FettleError } from '../../contract/errors.ts';
import { leftOutOf } from '../../contract/measured-on.ts';
import { needed, text, whole, type Command, type Context } from '../command.ts';
import { listed, wrap } from '../format.ts';
import { SAMPLING_HELP, SAMPLING_OPTIONS, samplingOf } from '../sampling.ts';
import { confirmed, projectOf } from './talk.ts';

const VOTES: Readonly<Record<string, Vote>> = { '1': 'one', '2': 'two', '0': 'tie' };
const POLL_MS = 300;

/** Keys as they are pressed; where the input is no terminal, the characters of its lines. */
async function* keys(signal: AbortSignal): AsyncGenerator<string> {
  const input = process.stdin;
  /** Only while a key is waited for: else Ctrl-C would be one more key. */
  const raw = (on: boolean): unknown => input.isTTY && input.setRawMode(on);
  raw(true);
  const end = (): void => void input.destroy();
  signal.addEventListener('abort', end);
  try {
    for await (const chunk of input as AsyncIterable<Buffer>)
      for (const key of chunk.toString()) {
        // Ctrl-C and Ctrl-D come as characters here.
        if (key === '\u0003' || key === '\u0004') return;
        if (key.trim() === '') continue;
        raw(false);
        yield key.toLowerCase();
        raw(true);
      }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', end);
    raw(false);
  }
}

/** Waits until the next pair is answered, or there is none. @throws why it does not come. */
async function nextPair({ client, signal }: Context, id: string): Promise<BlindTest> {
  for (;;) {
    const test = await client.call('blind.show', { blind: id });
    if (test.next || test.reveal || test.count.votes >= test.prompts || signal.aborted) return test;
    await wait(POLL_MS);
    const later = (await client.call('blind.list', { project: test.project })).find((each) => each.id === id);
    if (later?.error) throw FettleError.fromInfo(later.error);
  }
}

/** The sign test holds for one look, and votes are counted after each. */
const CAUTION = 'Who stops as soon as it looks settled is misled more often.';

function soFar({ count: { leads, trails, share, settled, more, ties } }: BlindTest): string {
  if (!share) return ties > 0 ? `${ties} without a difference.` : 'Nothing judged yet.';
  const percent = (value: number): string => `${Math.round(value * 100)}%`;
  const margin = `${percent(share.value)} (${percent(share.low)} to ${percent(share.high)})`;
  const next = settled
    ? 'Settled, for one look.'
    : more === null
      ? 'Not settled.'
      : `Not settled: about ${more} more at this rate.`;
  return `One leads ${leads} to ${trails}, ${margin}. ${next}`;
}

const toldSoFar = (test: BlindTest): string => `${soFar(test)}${test.count.settled ? ` ${CAUTION}` : ''}`;

async function judge(context: Context, id: string): Promise<void> {
  const { client, say, signal } = context;
  const pressed = keys(signal);
  let test = await nextPair(context, id);
  while (test.next && !signal.aborted) {
    const { number: nth, prompt, one, two } = test.next;
    say(`\n── ${nth} of ${test.prompts} ${'─'.repeat(60)}`);
    say(`${wrap(prompt, '  ')}\n\n1\n${wrap(one, '    ')}\n\n2\n${wrap(two, '    ')}\n`);
    say('1 or 2 is better, 0 no difference; u takes the last back, n shows the names, q leaves.');
    const { value: key, done } = await pressed.next();
    if (done || key === 'q') break;
    if (key === 'n') {
      test = await client.call('blind.reveal', { blind: id });
      break;
    }
    const vote = VOTES[key as string];
    if (vote) say(toldSoFar(await client.call('blind.vote', { blind: id, number: nth, vote })));
    else if (key === 'u') await client.call('blind.undo', { blind: id }).catch((error: Error) => say(error.message));
    test = await nextPair(context, id);
  }
  await pressed.return(undefined);
  if (!test.reveal && !test.next && test.count.votes > 0 && !signal.aborted)
    test = await client.call('blind.reveal', { blind: id });
  context.result(test);
  if (test.reveal) describe(context, test);
  else
    say(`\n${toldSoFar(test)} \`fettle blind resume ${id}\` goes on, \`fettle blind reveal ${id}\` shows the names.`);
}

function describe({ say }: Context, { id, reveal, count: { share } }: BlindTest): void {
  if (!reveal) return;
  say(`\n${wrap(reveal.sentence)}`);
  if (share)
    say(
      `  ${Math.round(share.value * 100)}%, 95% margin ${Math.round(share.low * 100)} to ${Math.round(share.high * 100)}%, for one look at the end. If you stopped because it looked settled, read it a little wider.`,
    );
  const { one, two } = reveal.byPlace;
  say(`  As 1 it won ${one.won} of ${one.of}, as 2 ${two.won} of ${two.of}.`);
  say(`  \`fettle blind export ${id} --out votes.csv\` saves what was chosen.`);
}

export const blindCommands: readonly Command[] = [
  {
    name: 'blind',
    usage: 'A B [--project P] [--dataset D | --prompts FILE] [--votes N] [--system TEXT]',
    summary: 'Judge two models without knowing which is which',
    args: [2, 2],
    options: {
      project: { type: 'string' },
      dataset: { type: 'string' },
      prompts: { type: 'string' },
      votes: { type: 'string' },
      system: { type: 'string' },
      ...SAMPLING_OPTIONS,
    },
    help: `Both answer unseen questions of the newest data that hold some, of --dataset (prose is gone on from), or the prompts of a file (one a line, or a table). Keys: 1, 2, 0 for no difference. It can be left and gone on with. ${SAMPLING_HELP}`,
    async run(context) {
      const [a = '', b = ''] = context.args;
      const [dataset, file, votes] = [
        text(context, 'dataset'),
        text(context, 'prompts'),
        whole(context, 'votes', 1, 1000),
      ];
      const begun = await context.client.call('blind.start', {
        project: await projectOf(context, [a, b]),
        targets: [a, b],
        ...(dataset === undefined ? {} : { dataset }),
        ...(file === undefined ? {} : { file: resolve(file) }),
        ...(votes === undefined ? {} : { most: votes }),
        system: text(context, 'system') ?? '',
        sampling: samplingOf(context),
      });
      for (const sentence of leftOutOf(begun)) context.say(wrap(sentence));
      await judge(context, begun.id);
    },
  },
  {
    name: 'blind resume',
    usage: 'TEST',
    summary: 'Go on judging',
    args: [1, 1],
    run: (context) => judge(context, context.args[0]!),
  },
  {
    name: 'blind list',
    usage: 'PROJECT',
    summary: 'The blind tests of a project',
    args: [1, 1],
    async run(context) {
      const tests = await context.client.call('blind.list', { project: context.args[0]! });
      context.result(tests);
      context.say(
        listed(tests, 'None yet. `fettle blind A B` begins one.', ['test', 'judged', 'so far'], (test) => [
          test.id,
          `${test.count.votes} of ${test.prompts}`,
          test.reveal?.sentence ?? soFar(test),
        ]),
      );
    },
  },
  {
    name: 'blind reveal',
    usage: 'TEST',
    summary: 'Show the names; no votes are taken after it',
    args: [1, 1],
    async run(context) {
      const [blind = ''] = context.args;
      const seen = await context.client.call('blind.show', { blind });
      const test = seen.reveal ? seen : await context.client.call('blind.reveal', { blind });
      context.result(test);
      describe(context, test);
    },
  },
  {
    name: 'blind export',
    usage: 'TEST --out FILE',
    summary: 'Save what was chosen, as CSV or JSON, once the names are shown',
    args: [1, 1],
    options: { out: { type: 'string' } },
    async run(context) {
      const out = resolve(needed(context, 'out'));
      const format = out.endsWith('.json') ? 'json' : 'csv';
      const saved = await context.client.call('blind.export', { blind: context.args[0]!, format });
      await writeFile(out, saved.text, { flag: 'wx' }).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        throw new FettleError('TARGET_EXISTS', `${out} is there already.`, 'Name another file.');
      });
      context.result({ file: out });
      context.say(`What was chosen is in ${out}.`);
    },
  },
  {
    name: 'blind delete',
    usage: 'TEST --yes',
    summary: 'Delete a blind test',
    args: [1, 1],
    options: { yes: { type: 'boolean' } },
    async run(context) {
      const [blind = ''] = context.args;
      confirmed(context, blind);
      context.result(await context.client.call('blind.delete', { blind }));
      context.say(`${blind} is deleted.`);
    },
  },
];
