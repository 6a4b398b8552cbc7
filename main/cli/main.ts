#!/usr/bin/env node
/** @file The `fettle` command: finds what was asked for, connects, runs it, and turns errors into words and exit codes. */
import { resolve } from 'node:path';
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import { ERROR_CODES, FettleError, toFettleError } from '../contract/errors.ts';
import { defaultHome } from '../core/home.ts';
import { wholeNumber, type Command, type Context } from './command.ts';
import { adviseCommands } from './commands/advise.ts';
import { answerCommands } from './commands/answer.ts';
import { blindCommands } from './commands/blind.ts';
import { dataCommands } from './commands/data.ts';
import { demoCommand } from './commands/demo.ts';
import { doctorCommand } from './commands/doctor.ts';
import { judgeCommands } from './commands/judge.ts';
import { keptCommands } from './commands/kept.ts';
import { modelCommands } from './commands/model.ts';
import { projectCommands } from './commands/project.ts';
import { runCommands } from './commands/run.ts';
import { curveCommand, pilotCommand } from './commands/pilot.ts';
import { talkCommands } from './commands/talk.ts';
import { trainCommand } from './commands/train.ts';
import { connect } from './connect.ts';
import { serve } from './serve.ts';

const GLOBAL: ParseArgsOptionsConfig = {
  home: { type: 'string' },
  json: { type: 'boolean' },
  threads: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
};
/** Listed and parsed like the others; it is a host itself, so it gets no connection. */
const serveCommand: Omit<Command, 'run'> = {
  name: 'serve',
  usage: '[--port N] [--no-open]',
  summary: 'The workbench in a browser',
  args: [0, 0],
  options: { port: { type: 'string' }, 'no-open': { type: 'boolean' } },
};
const COMMANDS: readonly (Omit<Command, 'run'> & Partial<Command>)[] = [
  demoCommand,
  serveCommand,
  doctorCommand,
  ...projectCommands,
  ...modelCommands,
  ...dataCommands,
  ...adviseCommands,
  pilotCommand,
  curveCommand,
  trainCommand,
  ...runCommands,
  ...judgeCommands,
  ...keptCommands,
  ...talkCommands,
  ...answerCommands,
  ...blindCommands,
];

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    'Fettle: fine-tune a language model on your own workstation.',
    '',
    'fettle COMMAND [ARGUMENTS] [--home DIR] [--threads N] [--json]',
    '',
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    'fettle COMMAND --help says more. Everything is kept in FETTLE_HOME, or in --home DIR.',
  ].join('\n');
}

const helpOf = ({ name, usage, summary, help }: Omit<Command, 'run'>): string =>
  `fettle ${name} ${usage}\n\n${summary}.${help ? `\n\n${help}` : ''}`;

function find(argv: readonly string[]): { command: (typeof COMMANDS)[number]; rest: string[] } | undefined {
  // Options may stand before the command: fettle --home DIR run list.
  const words = argv
    .map((arg, i) => ({ arg, i }))
    .filter(({ arg, i }) => !arg.startsWith('-') && !takesValue(argv[i - 1]));
  for (const length of [2, 1]) {
    const taken = words.slice(0, length);
    const command = COMMANDS.find(({ name }) => name === taken.map(({ arg }) => arg).join(' '));
    if (command) return { command, rest: argv.filter((_, i) => !taken.some((word) => word.i === i)) };
  }
  return undefined;
}
const takesValue = (before: string | undefined): boolean => before === '--home' || before === '--threads';

async function main(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const found = find(argv);
  if (!found) {
    if (argv.length === 0 || argv.includes('--help') || argv.includes('-h') || argv.includes('help'))
      return void process.stdout.write(`${overview()}\n`);
    throw new FettleError(
      'USAGE',
      `There is no command ${JSON.stringify(
        argv
          .filter((arg) => !arg.startsWith('-'))
          .slice(0, 2)
          .join(' '),
      )}.`,
      '`fettle --help` lists the commands.',
    );
  }
  const { command, rest } = found;
  const { values, positionals } = parse(command, rest);
  if (values['help'] === true) return void process.stdout.write(`${helpOf(command)}\n`);
  const [least, most] = command.args;
  if (positionals.length < least || positionals.length > most)
    throw new FettleError(
      'USAGE',
      `fettle ${command.name} takes ${command.usage || 'no arguments'}.`,
      `\`fettle ${command.name} --help\` says more.`,
    );

  const home = typeof values['home'] === 'string' ? resolve(values['home']) : defaultHome();
  const threads = values['threads'] === undefined ? undefined : wholeNumber('threads', values['threads'], 1, 256);
  const json = values['json'] === true;
  if (!command.run) {
    const port = values['port'] === undefined ? 0 : wholeNumber('port', values['port'], 0, 65535);
    return serve({ home, port, open: values['no-open'] !== true, threads, json, signal });
  }
  const connection = await connect(home, threads, signal);
  const context: Context = {
    client: connection.client,
    args: positionals,
    options: values,
    json,
    signal,
    say: (text = '') => void (json || process.stdout.write(`${text}\n`)),
    result: (value) => void (json && process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)),
  };
  try {
    await Promise.race([command.run(context), connection.lost]);
  } finally {
    await connection.close();
  }
}

function parse(
  command: (typeof COMMANDS)[number],
  rest: readonly string[],
): { values: Record<string, string | boolean | (string | boolean)[] | undefined>; positionals: string[] } {
  try {
    return parseArgs({ args: [...rest], options: { ...GLOBAL, ...command.options }, allowPositionals: true });
  } catch (error) {
    throw new FettleError(
      'USAGE',
      error instanceof Error ? error.message.split('. ', 1)[0]! : String(error),
      `\`fettle ${command.name} --help\` says what it takes.`,
    );
  }
}

const INTERRUPTED = 130;
const interrupt = new AbortController();
let presses = 0;
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.on(name, () => {
    interrupt.abort();
    // A second Ctrl-C does not wait: the run is marked as interrupted at the next start and can be resumed.
    if (++presses > 1) process.exit(INTERRUPTED);
  });
// Piped into a program that stops reading, such as head.
process.stdout.on('error', () => process.exit(0));

try {
  await main(process.argv.slice(2), interrupt.signal);
  process.exitCode = interrupt.signal.aborted ? INTERRUPTED : 0;
} catch (error) {
  const { code, message, hint } = toFettleError(error);
  if (process.argv.includes('--json'))
    process.stdout.write(`${JSON.stringify({ type: 'error', error: { code, message, hint } })}\n`);
  process.stderr.write(`error ${code}: ${message}\n${hint ? `  ${hint}\n` : ''}`);
  process.exitCode = interrupt.signal.aborted ? INTERRUPTED : ERROR_CODES[code];
}
// Keeps nothing alive that a command left open.
process.exit();
