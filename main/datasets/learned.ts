/** @file Which rows stand among those that something was trained on, by their content: two versions may hold the same row under another split. */
import { hash } from 'node:crypto';
import { readRows, type Content } from './rows.ts';

/** From this share of its words on a document counts as learned. Reasoning: below, it shares a notice or a quotation. */
const MOSTLY = 0.5;

interface Piece {
  readonly key: string;
  readonly words: number;
}
const digest = (text: string): string => hash('sha256', text, 'base64');
const folded = (text: string): string => text.replace(/\s+/g, ' ').trim();

/**
 * A conversation is one piece: its messages, whatever the blanks in them. A document is its paragraphs, since it may
 * have been learned whole where only its tail is held out, or with a chapter more.
 */
function piecesOf({ messages, text, tools }: Pick<Content, 'messages' | 'text' | 'tools'>): Piece[] {
  if (text === undefined) {
    const told = (messages ?? []).map((message) => ({ ...message, content: folded(message.content) }));
    return [{ key: digest(JSON.stringify([told, tools ?? []])), words: 1 }];
  }
  return text
    .split(/\n\s*\n/)
    .map(folded)
    .filter((paragraph) => paragraph !== '')
    .map((paragraph) => ({ key: digest(paragraph), words: paragraph.split(' ').length }));
}

/**
 * @param rows that are asked about; only their digests are held in memory, however much was learned.
 * @param files rows.jsonl of the data that were trained on, of which the training split counts.
 */
export async function learnedFrom(
  rows: readonly Pick<Content, 'messages' | 'text' | 'tools'>[],
  files: readonly string[],
): Promise<boolean[]> {
  const asked = rows.map(piecesOf);
  const met = new Map(asked.flat().map(({ key }) => [key, false]));
  for (const file of new Set(files))
    for await (const row of readRows(file)) {
      if (row.split !== 'train') continue;
      for (const { key } of piecesOf(row)) if (met.has(key)) met.set(key, true);
    }
  const words = (pieces: readonly Piece[]): number => pieces.reduce((sum, piece) => sum + piece.words, 0);
  return asked.map((pieces) => {
    const learned = words(pieces.filter(({ key }) => met.get(key)));
    return learned > 0 && learned >= MOSTLY * words(pieces);
  });
}
