/** @file What tools of a conversation are called. */

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** Names of tools in OpenAI's form, or without the `function` around them. */
export const toolNames = (tools: readonly Readonly<Record<string, unknown>>[]): string[] =>
  tools.flatMap((tool) => {
    const inner = isObject(tool['function']) ? tool['function'] : tool;
    return typeof inner['name'] === 'string' ? [inner['name']] : [];
  });
