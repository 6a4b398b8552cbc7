/** @file Pieces of the model card's Markdown: tables, figures, names of people and files made safe. */

export const table = (rows: readonly (readonly [string, string])[]): string[] => [
  '| | |',
  '|---|---|',
  ...rows.map(([name, value]) => `| ${name} | ${value.replaceAll('|', '\\|')} |`),
];
export const count = (value: number): string => value.toLocaleString('en-GB');
export const nats = (value: number | null): string =>
  value === null ? 'not measured' : `${value.toFixed(4)} nats a token (perplexity ${Math.exp(value).toFixed(2)})`;
export const code = (value: string): string => `\`${value}\``;
/** Names come from files and people: one line, no markup. */
export const plain = (value: string): string =>
  value
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[<>`*_[\]]/g, (c) => `\\${c}`)
    .trim();
export const yaml = (value: string): string => JSON.stringify(value.replaceAll(/\s+/g, ' '));
