/** @file A conversation as text for a file of the person's own. */
import type { Chat } from '../../../main/contract/entities.ts';

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
