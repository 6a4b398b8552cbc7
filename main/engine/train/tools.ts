/** @file The tools that a conversation may call: in the template's own place for them, or, where it has none, in words in the system message. */
import { toolNames } from '../../contract/tools.ts';
import type { ChatMessage, ChatTemplate, ToolCall, ToolDefinition } from '../../formats/model.ts';

export interface Told {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ToolDefinition[];
}

/**
 * What the template is given. A template may take tools and still not this conversation (Llama 3.1's allows one call a
 * turn): then words carry it too, so that no row is lost.
 */
export function withTools(
  messages: readonly ChatMessage[],
  tools: readonly ToolDefinition[],
  template: ChatTemplate,
): Told {
  if (tools.length === 0) return { messages };
  if (template.takesTools) {
    const told = { messages: messages.map((message) => withCalls(message, tools)), tools };
    if (renders(told, template)) return told;
  }
  return { messages: inWords(messages, tools) };
}

function renders({ messages, tools }: Told, template: ChatTemplate): boolean {
  try {
    template.render(messages, { tools: tools ?? [] });
    return true;
  } catch {
    return false;
  }
}

function inWords(messages: readonly ChatMessage[], tools: readonly ToolDefinition[]): readonly ChatMessage[] {
  const listed = `Tools: ${JSON.stringify(tools.map((tool) => tool['function'] ?? tool))}`;
  const [first, ...rest] = messages;
  return first?.role === 'system'
    ? [{ role: 'system', content: `${first.content}\n\n${listed}` }, ...rest]
    : [{ role: 'system', content: listed }, ...messages];
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The last lines of an answer that call one of the tools, as calls; data keep them as JSON, one a line, so that they can be read and changed. */
function withCalls(message: ChatMessage, tools: readonly ToolDefinition[]): ChatMessage {
  if (message.role !== 'assistant') return message;
  const names = new Set(toolNames(tools));
  const lines = message.content.split('\n');
  const calls: ToolCall[] = [];
  for (let line = lines.pop(); line !== undefined; line = lines.pop()) {
    const call = callOf(line, names);
    if (!call) {
      lines.push(line);
      break;
    }
    calls.unshift(call);
  }
  return calls.length === 0 ? message : { role: 'assistant', content: lines.join('\n').trimEnd(), calls };
}

function callOf(line: string, names: ReadonlySet<string>): ToolCall | null {
  const called = parsed(line);
  if (!isObject(called) || typeof called['name'] !== 'string' || !names.has(called['name'])) return null;
  const given = called['arguments'] ?? called['parameters'] ?? {};
  // OpenAI's API writes them as JSON in a string.
  const values = typeof given === 'string' ? parsed(given) : given;
  return isObject(values) ? { name: called['name'], arguments: values } : null;
}

function parsed(text: string): unknown {
  if (!text.trimStart().startsWith('{')) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
