/** @file What a template is given of a conversation: tools in the place that it has for them or in words, a system message where it takes one. */
import { toolNames } from '../../contract/tools.ts';
import type { ChatMessage, ChatTemplate, ToolCall, ToolDefinition } from '../../formats/model.ts';

export interface Told {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ToolDefinition[];
}

/**
 * A template may take tools and still not this conversation (Llama 3.1's allows one call a turn, and no words beside it): then words carry it
 * too, so that no row is lost.
 */
export function toldTo(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  tools: readonly ToolDefinition[] = [],
): Told {
  if (tools.length > 0 && template.takesTools) {
    const told = { messages: messages.map((message) => withCalls(message, tools)), tools };
    if (renders(told, template)) return told;
  }
  const all = tools.length > 0 ? inWords(messages, tools) : messages;
  const carried = all[0]?.role === 'system' && !template.takesSystem ? withoutSystem(all) : all;
  // What a tool gave back is said by the user, where the template knows no such speaker.
  const speaks = !carried.some(({ role }) => role === 'tool') || renders({ messages: carried }, template);
  return { messages: speaks ? carried : carried.map((it) => (it.role === 'tool' ? { ...it, role: 'user' } : it)) };
}

/** A template without a system message, such as Gemma's, refuses it or leaves it out: the first question says it then. */
function withoutSystem([system, ...rest]: readonly ChatMessage[]): readonly ChatMessage[] {
  const at = rest.findIndex((message) => message.role === 'user');
  const first = rest[at];
  if (!system || !first) return rest;
  return rest.with(at, { ...first, content: `${system.content}\n\n${first.content}` });
}

/** Whether the template takes it, and writes what is said beside a call. */
function renders({ messages, tools }: Told, template: ChatTemplate): boolean {
  try {
    const text = template.render(messages, tools ? { tools } : {});
    return messages.every(({ calls, content }) => !calls || text.includes(content.trim()));
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
