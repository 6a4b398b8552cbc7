/** @file fettle chat and fettle serve-model: talk with models here, or let other programs ask them. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Chat, ChatAnswer } from '../../contract/entities.ts';
import { FettleError } from '../../contract/errors.ts';
import { number, text, type Command, type Context } from '../command.ts';
import { listed, wrap } from '../format.ts';
import { SAMPLING_HELP, SAMPLING_OPTIONS, samplingOf } from '../sampling.ts';
import { tellAnswer } from './judge.ts';

/** Named, else that of the first run among the targets. @throws USAGE */
export async function projectOf(context: Context, targets: readonly string[]): Promise<string> {
  const named = text(context, 'project');
  if (named !== undefined) return named;
  const runs = await context.client.call('runs.list', {});
  const run = runs.find(({ id }) => targets.some((target) => target.split('@', 1)[0] === id));
  if (run) return run.project;
  throw new FettleError('USAGE', 'Base models alone belong to no project.', 'Name one: --project P.');
}

function describeTurn({ say }: Context, { prompt, answers }: Chat['turns'][number]): void {
  say(`\n${wrap(prompt, '  > ')}`);
  for (const { label, answer, error } of answers)
    say(`\n  ${label}:\n${wrap(answer?.text ?? error?.message ?? 'being answered', '    ')}`);
}

/** Each answer as it is written, one after the other. */
async function listen(context: Context, answers: readonly ChatAnswer[]): Promise<void> {
  for (const { label, generation, error } of answers) {
    if (answers.length > 1) context.say(`\n${label}:`);
    if (error) context.say(`(${error.message})`);
    if (generation === null) continue;
    try {
      await tellAnswer(context, generation, (piece) => void (context.json || process.stdout.write(piece)));
    } catch (failure) {
      context.say(`(${(failure as Error).message})`);
    }
    context.say();
  }
}

async function talk(context: Context, begun: Chat | null): Promise<void> {
  const { client, signal, json } = context;
  const targets = begun ? begun.targets : context.args;
  const project = begun?.project ?? (await projectOf(context, targets));
  const system = text(context, 'system') ?? begun?.system ?? '';
  const sampling = { ...begun?.sampling, ...samplingOf(context) };
  const lines = createInterface({
    input: process.stdin,
    ...(process.stdin.isTTY && !json ? { output: process.stdout } : {}),
    prompt: '\n> ',
  });
  let chat = begun;
  const end = (): void => lines.close();
  signal.addEventListener('abort', end);
  // Ctrl-C stops an answer; where nothing is being said, it ends the conversation.
  let answering = false;
  let open = true;
  lines.on('close', () => (open = false));
  lines.on('SIGINT', () => (answering && chat ? void client.call('chats.stop', { chat: chat.id }) : end()));
  if (process.stdin.isTTY && !json) context.say('Write, and Enter sends. Ctrl-C stops an answer, Ctrl-D ends.');
  lines.prompt();
  for await (const line of lines) {
    if (line.trim() !== '') {
      chat = await client.call('chats.send', {
        project,
        ...(chat ? { chat: chat.id } : {}),
        targets: [...targets],
        prompt: line,
        system,
        sampling,
      });
      answering = true;
      await listen(context, chat.turns.at(-1)?.answers ?? []);
      answering = false;
    }
    if (signal.aborted) break;
    if (open) lines.prompt();
  }
  signal.removeEventListener('abort', end);
  if (!chat) return;
  chat = await client.call('chats.show', { chat: chat.id });
  context.result(chat);
  context.say(`\nKept as ${chat.id}; \`fettle chat open ${chat.id}\` goes on with it.`);
}

export const talkCommands: readonly Command[] = [
  {
    name: 'chat',
    usage: 'RUN|MODEL [A SECOND] [A THIRD] [A FOURTH] [--project P] [--system TEXT] [--temperature X]',
    summary: 'A conversation with a model, or the same with up to four',
    args: [1, 4],
    options: { project: { type: 'string' }, system: { type: 'string' }, ...SAMPLING_OPTIONS },
    help: `RUN@CHECKPOINT talks with a checkpoint. Each model keeps to what it said itself. ${SAMPLING_HELP}`,
    run: (context) => talk(context, null),
  },
  {
    name: 'chat open',
    usage: 'CHAT [--system TEXT] [--temperature X]',
    summary: 'Go on with a conversation',
    args: [1, 1],
    options: { system: { type: 'string' }, ...SAMPLING_OPTIONS },
    async run(context) {
      const chat = await context.client.call('chats.show', { chat: context.args[0]! });
      for (const turn of chat.turns) describeTurn(context, turn);
      await talk(context, chat);
    },
  },
  {
    name: 'chat list',
    usage: 'PROJECT',
    summary: 'The conversations of a project',
    args: [1, 1],
    async run(context) {
      const chats = await context.client.call('chats.list', { project: context.args[0]! });
      context.result(chats);
      context.say(
        listed(
          chats,
          'None yet. `fettle chat RUN` begins one.',
          ['chat', 'turns', 'with', 'begins'],
          ({ id, turns, targets, title }) => [id, String(turns), targets.join(', '), title],
        ),
      );
    },
  },
  {
    name: 'chat show',
    usage: 'CHAT',
    summary: 'What was said in a conversation',
    args: [1, 1],
    async run(context) {
      const chat = await context.client.call('chats.show', { chat: context.args[0]! });
      context.result(chat);
      context.say(chat.title);
      for (const turn of chat.turns) describeTurn(context, turn);
    },
  },
  {
    name: 'chat rename',
    usage: 'CHAT NAME',
    summary: 'Give a conversation another name',
    args: [2, 2],
    async run(context) {
      const [chat = '', title = ''] = context.args;
      context.result(await context.client.call('chats.rename', { chat, title }));
      context.say(`${chat} is now “${title}”.`);
    },
  },
  {
    name: 'chat delete',
    usage: 'CHAT --yes',
    summary: 'Delete a conversation',
    args: [1, 1],
    options: { yes: { type: 'boolean' } },
    async run(context) {
      const [chat = ''] = context.args;
      confirmed(context, chat);
      context.result(await context.client.call('chats.delete', { chat }));
      context.say(`${chat} is deleted.`);
    },
  },
  {
    name: 'serve-model',
    usage: 'RUN|MODEL... [--port N]',
    summary: 'Let other programs on this machine ask models, as they ask OpenAI’s',
    args: [1, 16],
    options: { port: { type: 'string' } },
    help: 'On 127.0.0.1 only, with a token, until Ctrl-C: POST /v1/chat/completions and /v1/completions (streamed or not), GET /v1/models. A model is named as it is named here. Where the workbench is open, its switch shows the same address.',
    async run(context) {
      const { client, signal } = context;
      const port = number(context, 'port');
      const endpoint = await client.call('endpoint.start', {
        targets: [...context.args],
        ...(port === undefined ? {} : { port }),
      });
      context.result(endpoint);
      context.say(`Other programs reach ${endpoint.models.map(({ id }) => id).join(', ')} at`);
      context.say(`  address  ${endpoint.address}\n  token    ${endpoint.token}\n`);
      context.say(`  curl ${endpoint.address}/chat/completions -H "Authorization: Bearer ${endpoint.token}" \\`);
      context.say(
        `    -d '{"model": "${endpoint.models[0]!.id}", "messages": [{"role": "user", "content": "Hello"}]}'\n`,
      );
      context.say('Ctrl-C closes it.');
      if (!signal.aborted) await once(signal, 'abort');
      const { requests } = await client.call('endpoint.show', {});
      await client.call('endpoint.stop', {});
      context.say(`Closed after ${requests === 1 ? '1 request' : `${requests} requests`}.`);
    },
  },
];

/** @throws CONFIRM_NEEDED */
export function confirmed(context: Context, what: string): void {
  if (context.options['yes'] !== true)
    throw new FettleError(
      'CONFIRM_NEEDED',
      `Deleting ${what} cannot be undone.`,
      'Add --yes if that is what you want.',
    );
}
