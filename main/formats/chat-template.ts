/** @file A model's own chat template, run by an interpreter that knows no files, no network and no JavaScript. */
import { Template } from '@huggingface/jinja';
import { FettleError } from '../contract/errors.ts';
import type { ChatMessage, ChatTemplate, RenderOptions, ToolDefinition } from './model.ts';

/** No template that is in use comes near. */
const MOST_CHARACTERS = 200_000;
/** A template that grows its text beyond so many times what it was given runs away. */
const MOST_OUTPUT = 4_000_000;

export interface TemplateTokens {
  readonly bosToken: string | null;
  readonly eosToken: string | null;
}

/** @throws TEMPLATE_FAILED where the template cannot be parsed. */
export function chatTemplate(source: string, { bosToken, eosToken }: TemplateTokens): ChatTemplate {
  if (source.length > MOST_CHARACTERS) throw failed(`it has ${source.length} characters`);
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw failed(wordsOf(error), error);
  }
  const render = (
    messages: readonly ChatMessage[],
    { addGenerationPrompt = false, tools }: RenderOptions = {},
  ): string => {
    let text: string;
    try {
      text = template.render({
        messages: asTemplatesExpect(messages),
        add_generation_prompt: addGenerationPrompt,
        bos_token: bosToken ?? '',
        eos_token: eosToken ?? '',
        // Templates that print today's date would give other tokens tomorrow.
        date_string: '26 Jul 2024',
        ...(tools ? { tools } : {}),
      });
    } catch (error) {
      throw failed(wordsOf(error), error);
    }
    if (text.length > MOST_OUTPUT) throw failed('its output grew without bounds');
    return text;
  };
  let takesTools: boolean | undefined;
  let takesSystem: boolean | undefined;
  return {
    source,
    render,
    get takesTools() {
      return (takesTools ??= source.includes('tools') && writesTools(render));
    },
    get takesSystem() {
      return (takesSystem ??= writesSystem(render));
    },
  };
}

/** Calls and what came back carry an id, as some templates (Mistral's) demand: nine letters and digits. */
function asTemplatesExpect(messages: readonly ChatMessage[]): Record<string, unknown>[] {
  let called = 0;
  let answered = 0;
  let named: string | undefined;
  const id = (number: number): string => `call${String(number).padStart(5, '0')}`;
  return messages.map(({ role, content, calls = [] }) => {
    if (role === 'tool' && named !== undefined)
      return { role, content, name: named, tool_call_id: id(Math.min(++answered, called)) };
    if (calls.length === 0) return { role, content };
    answered = called;
    named = calls[0]?.name;
    const toolCalls = calls.map((call) => ({ id: id(++called), type: 'function', function: call }));
    return { role, content, tool_calls: toolCalls };
  });
}

const PROBE: ToolDefinition = {
  type: 'function',
  function: {
    name: 'fettle_probe',
    description: 'A probe.',
    parameters: { type: 'object', properties: { at: { type: 'string', description: 'A place.' } }, required: ['at'] },
  },
};

type Render = ChatTemplate['render'];

function writesSystem(render: Render): boolean {
  try {
    return render([
      { role: 'system', content: 'fettle_system' },
      { role: 'user', content: 'q' },
    ]).includes('fettle_system');
  } catch {
    return false;
  }
}

/** Whether a tool, a call of it and its answer all come through. */
function writesTools(render: Render): boolean {
  try {
    const text = render(
      [
        { role: 'user', content: 'q' },
        { role: 'assistant', content: '', calls: [{ name: 'fettle_call', arguments: { at: 'fettle_place' } }] },
        { role: 'tool', content: 'fettle_result' },
        { role: 'assistant', content: 'a' },
      ],
      { tools: [PROBE] },
    );
    return ['fettle_probe', 'fettle_call', 'fettle_place', 'fettle_result'].every((part) => text.includes(part));
  } catch {
    // A template that fails on tools has no place for them.
    return false;
  }
}

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const failed = (why: string, cause?: unknown): FettleError =>
  new FettleError(
    'TEMPLATE_FAILED',
    `The model’s chat template failed: ${why}.`,
    'Check the roles and their order in the data, or choose another model.',
    { cause },
  );
