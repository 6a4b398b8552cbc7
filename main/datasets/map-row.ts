/** @file A row of a file into Fettle's own form, by its shape; or why it cannot be used. */
import type { ChatTurn, Tools } from '../contract/entities.ts';
import type { Mapping, Shape } from './shape.ts';

export type Row = Readonly<Record<string, unknown>>;
export const isRow = (value: unknown): value is Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export type Mapped =
  | { readonly ok: true; readonly messages: readonly ChatTurn[]; readonly tools?: Tools; readonly rejected?: string }
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string };
const drop = (reason: string): Mapped => ({ ok: false, reason });

/** One row may hold several examples: nested instances do. */
export function mapRow(row: Row, { kind, mapping }: Shape): readonly Mapped[] {
  if (mapping.messages) return [talkWithTools(row, mapping, systemOf(row, mapping))];
  if (kind === 'preference') return [preference(row, mapping)];
  if (mapping.text) {
    const text = textOf(row[mapping.text]);
    return [text ? { ok: true, text } : drop('no text')];
  }
  const instruction = textOf(row[mapping.instruction ?? '']);
  if (!mapping.instances)
    return [pair(instruction, row[mapping.input ?? ''], row[mapping.response ?? ''], systemOf(row, mapping))];
  const instances = row[mapping.instances];
  if (!Array.isArray(instances) || instances.length === 0) return [drop('no instances')];
  return instances.map((it: unknown) =>
    isRow(it) ? pair(instruction, it['input'], it['output'], '') : drop('an instance that is no object'),
  );
}

function pair(instruction: string, input: unknown, response: unknown, system: string): Mapped {
  const more = textOf(input);
  const user = joined(instruction, more);
  const answer = textOf(response);
  if (user === '') return drop('no instruction');
  if (answer === '') return drop('no response');
  const turns: ChatTurn[] = [
    { role: 'user', content: user },
    { role: 'assistant', content: answer },
  ];
  return { ok: true, messages: system ? [{ role: 'system', content: system }, ...turns] : turns };
}

function preference(row: Row, mapping: Mapping): Mapped {
  const [chosen, rejected] = [row[mapping.chosen ?? 'chosen'], row[mapping.rejected ?? 'rejected']];
  const system = systemOf(row, mapping);
  if (Array.isArray(chosen)) {
    const talk = conversation(chosen, system);
    if (!('messages' in talk)) return talk;
    const last = Array.isArray(rejected) ? (rejected.at(-1) as unknown) : rejected;
    const other = textOf(isRow(last) ? (last['content'] ?? last['value']) : last);
    return other === '' ? drop('no rejected answer') : { ...talk, rejected: other };
  }
  const prompt = row[mapping.prompt ?? ''];
  const talk = Array.isArray(prompt)
    ? conversation([...(prompt as unknown[]), { role: 'assistant', content: chosen }], system)
    : pair(textOf(prompt), '', chosen, system);
  if (!('messages' in talk)) return talk;
  const other = textOf(rejected);
  return other === '' ? drop('no rejected answer') : { ...talk, rejected: other };
}

const systemOf = (row: Row, mapping: Mapping): string => (mapping.system ? textOf(row[mapping.system]) : '');

/** A conversation with the tools that its answers may call; a list that is none is kept in words, in the system message. */
function talkWithTools(row: Row, mapping: Mapping, system: string): Mapped {
  const given = row[mapping.tools ?? ''];
  const tools = toolsOf(given);
  const words = tools || given === undefined || given === null ? '' : textOf(given);
  const told = words === '' ? system : [system, `Tools: ${words}`].filter((it) => it !== '').join('\n\n');
  const talk = conversation(row[mapping.messages ?? ''], told);
  return tools && tools.length > 0 && 'messages' in talk ? { ...talk, tools } : talk;
}

/** As JSON or as a list, with a `function` around each or without. */
function toolsOf(given: unknown): Tools | null {
  const value = typeof given === 'string' ? fromJson(given) : given;
  if (!Array.isArray(value) || value.length > MOST_TOOLS || !value.every(isRow)) return null;
  return value.map((tool) => (isRow(tool['function']) ? { ...tool } : { type: 'function', function: tool }));
}
const MOST_TOOLS = 200;

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What is asked and what it is about, as the model is trained to read them. */
export const joined = (instruction: string, more: string): string =>
  [instruction, more].filter((part) => part !== '').join('\n\n');

/** Numbers are taken as written; anything else that is no text counts as missing. NUL bytes have no meaning in text. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return (value.includes('\0') ? value.replaceAll('\0', '') : value).trim();
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

export const ROLES: Readonly<Record<string, ChatTurn['role']>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  human: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  model: 'assistant',
  bot: 'assistant',
  chatgpt: 'assistant',
  function_call: 'assistant',
  tool: 'tool',
  function: 'tool',
  observation: 'tool',
  function_response: 'tool',
};

/** OpenAI's {role, content} and ShareGPT's {from, value}, roles in any case. */
function conversation(value: unknown, system: string): Mapped {
  if (!Array.isArray(value) || value.length === 0) return drop('no messages');
  const turns: ChatTurn[] = system ? [{ role: 'system', content: system }] : [];
  for (const item of value as unknown[]) {
    if (!isRow(item)) return drop('a message that is no object');
    const named = item['role'] ?? item['from'];
    const said = typeof named === 'string' ? named.toLowerCase() : '';
    const role = Object.hasOwn(ROLES, said) ? ROLES[said] : undefined;
    if (!role) return drop(said ? `the role "${said.slice(0, 30)}" is not supported` : 'a message without a role');
    const content = said === 'function_call' ? callsOf(contentOf(item)) : contentOf(item);
    if (content === '') return drop('an empty message');
    if (role === 'system' && turns.some((turn) => turn.role !== 'system'))
      return drop('a system message in the middle');
    const first = turns[0];
    if (role === 'system' && first?.role === 'system') turns[0] = { role, content: `${content}\n\n${first.content}` };
    else turns.push({ role, content });
  }
  const spoken = turns.filter((turn) => turn.role !== 'system');
  if (spoken[0]?.role === 'assistant') return drop('starts with the assistant');
  if (!spoken.some((turn) => turn.role === 'assistant')) return drop('no answer of the assistant');
  if (spoken.some((turn, i) => turn.role === 'user' && spoken[i - 1]?.role === 'user'))
    return drop('two turns of the same speaker in a row');
  if (spoken.some((turn, i) => turn.role === 'assistant' && spoken[i - 1]?.role === 'assistant'))
    return drop('two turns of the same speaker in a row');
  return { ok: true, messages: turns };
}

/** Text, the text parts of a list, or the calls of tools as JSON. */
export function contentOf(item: Row): string {
  const content = item['content'] ?? item['value'];
  const text = Array.isArray(content)
    ? (content as unknown[]).map((part) => (isRow(part) ? textOf(part['text']) : textOf(part))).join('\n')
    : textOf(content);
  const calls = item['tool_calls'];
  if (!Array.isArray(calls) || calls.length === 0) return text.trim();
  const written = (calls as unknown[]).map((call) => JSON.stringify(isRow(call) ? (call['function'] ?? call) : call));
  return [text.trim(), ...written].filter((part) => part !== '').join('\n');
}

/** Calls that are JSON by themselves, one a line; what is none stays as it is. */
function callsOf(content: string): string {
  const value = fromJson(content);
  const calls = Array.isArray(value) ? value : [value];
  return calls.every(isRow) ? calls.map((call) => JSON.stringify(call)).join('\n') : content;
}
