/** @file Conversations and documents as token ids, with a mark on those that carry loss. What people wrote can never become a control token. */
import { FettleError } from '../../contract/errors.ts';
import type { ChatMessage, ChatTemplate, RenderOptions, Tokenizer, ToolDefinition } from '../../formats/model.ts';
import type { Example } from '../types.ts';
import { toldTo, type Told } from './conversation.ts';

export interface ChatForm {
  readonly tokenizer: Tokenizer;
  /** The model's own. */
  readonly template: ChatTemplate;
}
/** What a conversation is, beside its messages. */
export interface ChatOptions {
  /** Tools that the answers may call. */
  readonly tools?: readonly ToolDefinition[] | undefined;
}

/**
 * A conversation through the model's template. Loss lies on every assistant turn and on the token that ends it, on
 * nothing else. Each answer is tokenised from its first character, as it will be when the model answers. Where the
 * template writes earlier answers otherwise once there are later ones (Qwen3 drops their thoughts), the last ones alone
 * can be told, and carry loss.
 * @throws TEMPLATE_FAILED, DATA_EMPTY for a conversation without an answer.
 */
export function chatExample(
  messages: readonly ChatMessage[],
  { tokenizer, template }: ChatForm,
  { tools }: ChatOptions = {},
): Example {
  const guard = guardSpecial(toldTo(template, messages, tools), tokenizer);
  const render = renderer(guard, template);
  const whole = render(guard.messages);
  const given = guard.messages.flatMap((message, i) => (message.role === 'assistant' ? [i] : []));
  if (given.length === 0)
    throw new FettleError('DATA_EMPTY', 'A conversation has no answer to learn from.', 'Every row needs a response.');
  const answers = given.flatMap((i) => spanOf(i, guard.messages, whole, render) ?? []);
  if (answers.length === 0)
    throw new FettleError(
      'TEMPLATE_FAILED',
      'The model’s chat template writes a conversation differently once its answer is there, so it cannot be told which tokens are the answer’s.',
      'Choose another model.',
    );
  const ids: number[] = [];
  const loss: number[] = [];
  const put = (text: string, isAnswer: boolean): void => {
    const sections = sectionsOf(text, tokenizer);
    // What a template writes after the token that ends a turn is not the model's to say.
    const lastSpecial = sections.findLastIndex((section) => typeof section === 'number');
    const said = lastSpecial === -1 ? sections.length : lastSpecial + 1;
    sections.forEach((section, i) => {
      const made = typeof section === 'number' ? [section] : tokenizer.encode(guard.restore(section));
      for (const id of made) {
        ids.push(id);
        loss.push(isAnswer && i < said ? 1 : 0);
      }
    });
    if (isAnswer && lastSpecial === -1 && tokenizer.eosId !== null) {
      ids.push(tokenizer.eosId);
      loss.push(1);
    }
  };
  let at = 0;
  for (const { start, end } of answers) {
    put(whole.slice(at, start), false);
    put(whole.slice(start, end), true);
    at = end;
  }
  put(whole.slice(at), false);
  const untold = given.length - answers.length;
  return { ids: Int32Array.from(ids), loss: Uint8Array.from(loss), ...(untold > 0 ? { untold } : {}) };
}

/** Ids of a conversation up to where the model is to answer. @throws TEMPLATE_FAILED */
export function chatPrompt(
  messages: readonly ChatMessage[],
  { tokenizer, template }: ChatForm,
  { tools }: ChatOptions = {},
): number[] {
  const guard = guardSpecial(toldTo(template, messages, tools), tokenizer);
  const text = renderer(guard, template)(guard.messages, { addGenerationPrompt: true });
  return sectionsOf(text, tokenizer).flatMap((section) =>
    typeof section === 'number' ? [section] : tokenizer.encode(guard.restore(section)),
  );
}

type Render = (messages: readonly ChatMessage[], options?: Pick<RenderOptions, 'addGenerationPrompt'>) => string;
const renderer =
  ({ tools }: Told, template: ChatTemplate): Render =>
  (messages, options) =>
    template.render(messages, { ...options, ...(tools ? { tools } : {}) });

/** Ids of a text that the model is to go on from, begun as its tokenizer begins texts. */
export const textPrompt = (text: string, tokenizer: Tokenizer): number[] => [
  ...tokenizer.startIds,
  ...tokenizer.encode(text),
];

/** A document: every token carries loss, and it ends with the end-of-text token where there is one. */
export function documentExample(text: string, tokenizer: Tokenizer): Example {
  const ids = textPrompt(text, tokenizer);
  if (tokenizer.eosId !== null) ids.push(tokenizer.eosId);
  return { ids: Int32Array.from(ids), loss: new Uint8Array(ids.length).fill(1, tokenizer.startIds.length) };
}

/** Where message `i`, an answer, stands in the whole text: from where the model is asked to speak to where its turn is over; undefined where the whole does not begin so. */
function spanOf(
  i: number,
  messages: readonly ChatMessage[],
  whole: string,
  render: Render,
): { readonly start: number; readonly end: number } | undefined {
  const before = render(messages.slice(0, i), { addGenerationPrompt: true });
  const after = render(messages.slice(0, i + 1));
  return after.startsWith(before) && whole.startsWith(after) ? { start: before.length, end: after.length } : undefined;
}

/** Ids of special tokens, and the text between them, without the white space that they swallow. */
function sectionsOf(text: string, tokenizer: Tokenizer): (string | number)[] {
  const { pattern, ids } = specialsOf(tokenizer);
  if (!pattern) return text === '' ? [] : [text];
  const { swallowing } = tokenizer;
  const swallows = (part: string | number | undefined, side: 'before' | 'after'): boolean =>
    typeof part === 'number' && swallowing.get(part)?.[side] === true;
  return text
    .split(pattern)
    .filter((part) => part !== '')
    .map((part) => ids.get(part) ?? part)
    .map((part, i, parts) => {
      if (typeof part === 'number') return part;
      const begun = swallows(parts[i - 1], 'after') ? part.trimStart() : part;
      return swallows(parts[i + 1], 'before') ? begun.trimEnd() : begun;
    })
    .filter((part) => part !== '');
}

interface Specials {
  readonly pattern: RegExp | undefined;
  readonly ids: ReadonlyMap<string, number>;
}
const known = new WeakMap<Tokenizer, Specials>();

function specialsOf(tokenizer: Tokenizer): Specials {
  const found = known.get(tokenizer);
  if (found) return found;
  const ids = new Map([...tokenizer.special].map(([id, content]) => [content, id]));
  // The longest first: one may begin with another.
  const longestFirst = [...ids.keys()].sort((a, b) => b.length - a.length).map((content) => RegExp.escape(content));
  const specials = {
    ids,
    pattern: longestFirst.length === 0 ? undefined : new RegExp(`(${longestFirst.join('|')})`, 'u'),
  };
  known.set(tokenizer, specials);
  return specials;
}

interface Guard extends Told {
  /** Puts back what was hidden. */
  restore(text: string): string;
}

/** Hides special tokens that people wrote while the template's own are looked for. */
function guardSpecial(told: Told, tokenizer: Tokenizer): Guard {
  const { pattern } = specialsOf(tokenizer);
  const texts = textsOf(told);
  if (!pattern || !texts.some((text) => pattern.test(text))) return { ...told, restore: (text) => text };
  const mark = unusedCharacter(texts);
  const hidden: string[] = [];
  const every = new RegExp(pattern.source, 'gu');
  const hide = (content: string): string => {
    hidden.push(content);
    return `${mark}${hidden.length - 1}${mark}`;
  };
  return {
    ...inTexts(told, (text) => text.replaceAll(every, hide)),
    restore: (text) => text.replaceAll(new RegExp(`${mark}(\\d+)${mark}`, 'gu'), (_, index) => hidden[Number(index)]!),
  };
}

function textsOf({ messages, tools = [] }: Told): string[] {
  const texts = messages.map((message) => message.content);
  const more = [...tools, ...messages.flatMap((message) => message.calls ?? [])];
  if (more.length > 0) inTexts(more, (text) => (texts.push(text), text));
  return texts;
}

/** The same with every text in it changed, down to those in tools and calls. */
function inTexts<T>(value: T, change: (text: string) => string): T {
  const inner = (each: unknown): unknown =>
    typeof each === 'string'
      ? change(each)
      : Array.isArray(each)
        ? each.map(inner)
        : typeof each === 'object' && each !== null
          ? Object.fromEntries(Object.entries(each).map(([key, of]) => [change(key), inner(of)]))
          : each;
  return inner(value) as T;
}

/** A character of Unicode's private use area that none of the texts holds. */
function unusedCharacter(texts: readonly string[]): string {
  for (let code = 0xe000; code <= 0xf8ff; code++) {
    const character = String.fromCharCode(code);
    if (!texts.some((text) => text.includes(character))) return character;
  }
  throw new FettleError('INPUT_INVALID', 'A message uses every private character of Unicode.', 'Remove that row.');
}
