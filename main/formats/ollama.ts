/**
 * @file A chat template as Ollama wants it (Go's text/template), and the Modelfile. What stands around the messages is
 * learned from the template's own output, and the translation is compared with it before it is believed.
 */
import { FettleError } from '../contract/errors.ts';
import type { ChatMessage, ChatTemplate, ModelFiles } from './model.ts';

/** Texts around messages: prefix and suffix of each role, what stands at the start with and without a system message, and before an answer. */
interface Frame {
  readonly startWithSystem: string;
  readonly afterSystem: string;
  readonly startWithout: string;
  readonly beforeUser: string;
  readonly afterUser: string;
  readonly beforeAssistant: string;
  readonly afterAssistant: string;
  readonly prompt: string;
}

export interface OllamaTemplate {
  /** Go text/template. */
  readonly source: string;
  /** What the model is told where nobody tells it anything. */
  readonly system: string | null;
  /** Conversations in which the translation gave the template's own text: all of them. */
  readonly conversations: number;
}

const [SYSTEM, USER, ASSISTANT] = ['ßsystemß', 'ßuserß', 'ßassistantß'];
const system: ChatMessage = { role: 'system', content: SYSTEM };
const user: ChatMessage = { role: 'user', content: USER };
const assistant: ChatMessage = { role: 'assistant', content: ASSISTANT };

/**
 * @param bos the text that the client puts before every prompt by itself; null where it puts none.
 * @throws EXPORT_UNSUPPORTED where Go's templates cannot say what the template does.
 */
export function ollamaTemplate(template: ChatTemplate, bos: string | null): OllamaTemplate {
  const render = (messages: readonly ChatMessage[]): string => {
    const text = template.render(messages, { addGenerationPrompt: true });
    return bos !== null && text.startsWith(bos) ? text.slice(bos.length) : text;
  };
  const frame = learn(render);
  for (const [i, conversation] of CONVERSATIONS.entries())
    if (fill(frame, conversation) !== render(conversation))
      throw refuse(`conversation ${i + 1} of ${CONVERSATIONS.length} comes out otherwise`);
  const { startWithSystem, afterSystem, startWithout } = frame;
  const own = startWithout.startsWith(startWithSystem) && startWithout.endsWith(afterSystem) && startWithSystem !== '';
  const told = own ? startWithout.slice(startWithSystem.length, startWithout.length - afterSystem.length) : '';
  return { source: goTemplate(frame), system: told === '' ? null : told, conversations: CONVERSATIONS.length };
}

const refuse = (why: string): FettleError =>
  new FettleError(
    'EXPORT_UNSUPPORTED',
    `The chat template cannot be said in Ollama's language: ${why}.`,
    'Export as GGUF: llama.cpp and LM Studio use the template that is in the file.',
  );

/** Splits what a rendered conversation holds between its contents. @throws EXPORT_UNSUPPORTED */
function between(render: (messages: readonly ChatMessage[]) => string, messages: readonly ChatMessage[]): string[] {
  let text: string;
  try {
    text = render(messages);
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
  const parts: string[] = [];
  for (const { content } of messages) {
    const at = text.indexOf(content);
    if (at < 0) throw refuse('it changes what is said');
    parts.push(text.slice(0, at));
    text = text.slice(at + content.length);
  }
  return [...parts, text];
}

function learn(render: (messages: readonly ChatMessage[]) => string): Frame {
  const withSystem = between(render, [system, user, assistant, user]) as [string, string, string, string, string];
  const without = between(render, [user, assistant, user]) as [string, string, string, string];
  const [startWithSystem, systemToUser, userToAssistant, assistantToUser, end] = withSystem;
  // Which of two neighbours a text between them belongs to does not matter, as long as it is the same everywhere.
  const beforeUser = commonEnd(commonEnd(systemToUser, assistantToUser), without[0]);
  const afterUser = commonStart(userToAssistant, end);
  return {
    startWithSystem,
    afterSystem: cutEnd(systemToUser, beforeUser),
    startWithout: cutEnd(without[0], beforeUser),
    beforeUser,
    afterUser,
    beforeAssistant: userToAssistant.slice(afterUser.length),
    afterAssistant: cutEnd(assistantToUser, beforeUser),
    prompt: end.slice(afterUser.length),
  };
}

function commonStart(a: string, b: string): string {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return a.slice(0, length);
}
const reversed = (text: string): string => [...text].reverse().join('');
const commonEnd = (a: string, b: string): string => reversed(commonStart(reversed(a), reversed(b)));
function cutEnd(text: string, end: string): string {
  if (!text.endsWith(end)) throw refuse('a first question is put otherwise than a later one');
  return text.slice(0, text.length - end.length);
}

/** What the Go template gives. */
function fill(frame: Frame, messages: readonly ChatMessage[]): string {
  let text = messages[0]?.role === 'system' ? '' : frame.startWithout;
  for (const { role, content } of messages)
    if (role === 'system') text += frame.startWithSystem + content + frame.afterSystem;
    else if (role === 'user') text += frame.beforeUser + content + frame.afterUser;
    else text += frame.beforeAssistant + content + frame.afterAssistant;
  return text + frame.prompt;
}

/** A text in Go's quotes inside an action, so that blanks and line ends stay as they are. */
const said = (text: string): string => (text === '' ? '' : `{{ ${JSON.stringify(text)} }}`);

const goTemplate = (frame: Frame): string =>
  [
    `{{- if ne (index .Messages 0).Role "system" }}${said(frame.startWithout)}{{ end }}`,
    '{{- range .Messages }}',
    `{{- if eq .Role "system" }}${said(frame.startWithSystem)}{{ .Content }}${said(frame.afterSystem)}`,
    `{{- else if eq .Role "user" }}${said(frame.beforeUser)}{{ .Content }}${said(frame.afterUser)}`,
    `{{- else if eq .Role "assistant" }}${said(frame.beforeAssistant)}{{ .Content }}${said(frame.afterAssistant)}`,
    '{{- end }}',
    '{{- end }}',
    said(frame.prompt),
  ].join('');

/** As people talk: with and without a system message, one turn and several, lines, signs of templates, other scripts. */
export const CONVERSATIONS: readonly (readonly ChatMessage[])[] = [
  'Hello',
  'Two lines.\n\nAnd a third one.',
  'What does {{ .Content }} mean in a template? And {% if %}?',
  'Quotes "double", \'single\', `backticks` and a \\ backslash',
  'Grüße aus Köln, 你好 🙂',
].flatMap((question, i) => {
  const answer = `Answer ${i + 1}: "yes", and\n- a list\n- of two`;
  const tell: ChatMessage = { role: 'system', content: `Be brief.\nRule ${i + 1}: never say "no".` };
  const asked: ChatMessage = { role: 'user', content: question };
  const answered: ChatMessage = { role: 'assistant', content: answer };
  const again: ChatMessage = { role: 'user', content: `And then? (${i})` };
  return [[asked], [tell, asked], [asked, answered, again], [tell, asked, answered, again, answered, asked]];
});

/** @param system and texts of stops are people's and models' own: they are quoted. */
export function modelfile(
  gguf: string,
  { source, system: told }: Pick<OllamaTemplate, 'source' | 'system'>,
  { stopIds, tokenizer }: Pick<ModelFiles, 'stopIds' | 'tokenizer'>,
): string {
  return [
    `FROM ./${gguf}`,
    `TEMPLATE ${tripled(source)}`,
    ...(told === null ? [] : [`SYSTEM ${tripled(told)}`]),
    ...stopIds.map((id) => `PARAMETER stop ${JSON.stringify(tokenizer.piece(id))}`),
    '',
  ].join('\n');
}

function tripled(text: string): string {
  if (text.includes('"""') || text.endsWith('"')) throw refuse('it holds quotes that a Modelfile cannot');
  return `"""${text}"""`;
}
