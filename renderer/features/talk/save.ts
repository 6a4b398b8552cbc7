/** @file What was said or chosen, as a file of the person's own. */
import type { Chat } from '../../../main/contract/entities.ts';

/** Gives the browser, or the window, a file to keep. */
export function saveText(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}

/** A conversation as people read it. */
export function chatAsText({ title, system, turns }: Chat): string {
  const parts = turns.flatMap(({ prompt, answers }) => [
    `You:\n${prompt}`,
    ...answers.map(
      ({ label, answer, error }) => `${label}:\n${answer?.text ?? `(${error?.message ?? 'not answered'})`}`,
    ),
  ]);
  return `${[title, ...(system === '' ? [] : [`System text:\n${system}`]), ...parts].join('\n\n')}\n`;
}
