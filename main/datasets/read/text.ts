/** @file Bytes to text: UTF-8 and UTF-16 with or without a byte order mark, else Windows-1252; what is no text is refused, never replaced. */
import { isAscii, isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { FettleError } from '../../contract/errors.ts';
import type { SourceFile } from './record.ts';

/** A document larger than this is refused. Bytes. */
export const MAX_DOCUMENT_BYTES = 64 * 2 ** 20;
/** So much of a file tells its encoding. */
const LOOKED_AT = 1 << 16;

export type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be' | 'windows-1252';

/** From the first bytes of a file. UTF-16 without a mark shows as text whose every other byte is zero. */
export function encodingOf(bytes: Uint8Array): Encoding {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  let [evenZeros, oddZeros] = [0, 0];
  const looked = bytes.subarray(0, LOOKED_AT);
  looked.forEach((byte, i) => {
    if (byte !== 0) return;
    if (i % 2 === 0) evenZeros++;
    else oddZeros++;
  });
  const half = looked.length / 2;
  if (looked.length > 8 && oddZeros > half * 0.4 && evenZeros < half * 0.05) return 'utf-16le';
  if (looked.length > 8 && evenZeros > half * 0.4 && oddZeros < half * 0.05) return 'utf-16be';
  return beginsAsUtf8(looked, bytes.length > looked.length) ? 'utf-8' : 'windows-1252';
}

function beginsAsUtf8(bytes: Uint8Array, cut: boolean): boolean {
  try {
    // `stream` forgives a character that the end of the bytes cuts in two.
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: cut });
    return true;
  } catch {
    return false;
  }
}

/** Lines of other than ASCII that settle it: a file with so many good ones is UTF-8, whatever else is in it. */
const SETTLED = 1000;
/** A line that is longer says nothing of an encoding. */
const LONGEST_LINE = 1 << 24;

/**
 * Whether a whole file is UTF-8, line by line: the first letter that is not ASCII may stand anywhere. `bad` lines are not, and are
 * more than the good ones where the file is of another encoding.
 */
export async function countUtf8Lines(path: string): Promise<{ readonly good: number; readonly bad: number }> {
  let [good, bad] = [0, 0];
  let rest: Buffer = Buffer.alloc(0);
  const judge = (lines: Buffer): void => {
    if (isAscii(lines) || (good >= SETTLED && isUtf8(lines))) return;
    for (let from = 0; from < lines.length;) {
      const end = lines.indexOf(10, from);
      const line = lines.subarray(from, end < 0 ? lines.length : end);
      if (!isAscii(line) && isUtf8(line)) good++;
      else if (!isAscii(line)) bad++;
      from = end < 0 ? lines.length : end + 1;
    }
  };
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    const end = chunk.lastIndexOf(10);
    if (end >= 0) judge(rest.length === 0 ? chunk.subarray(0, end) : Buffer.concat([rest, chunk.subarray(0, end)]));
    const tail = chunk.subarray(end + 1);
    rest = end >= 0 ? tail : rest.length > LONGEST_LINE ? rest : Buffer.concat([rest, tail]);
  }
  if (rest.length <= LONGEST_LINE) judge(rest);
  return { good, bad };
}

/** @throws FILE_ENCODING where the bytes are no text, in the encoding that is given or in any. */
export function decode(bytes: Uint8Array, name: string, given?: Encoding): string {
  let encoding = given ?? encodingOf(bytes);
  // The first letter that is not ASCII may stand far behind what was looked at.
  if (!given && encoding === 'utf-8' && !isUtf8(bytes)) encoding = 'windows-1252';
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw notText(name);
  }
  // Text has line ends and tabs; a file full of other control characters is something else.
  const strange =
    text.slice(0, LOOKED_AT).match(/[\u0001-\u0008\u000e-\u001a\u001c-\u001f\u007f-\u009f]/g)?.length ?? 0;
  if (strange > Math.min(text.length, LOOKED_AT) * 0.02) throw notText(name);
  return text;
}

export const notText = (name: string): FettleError =>
  new FettleError('FILE_ENCODING', `${name} is not text.`, 'Save it as UTF-8 text and bring it in again.');

/** Line ends as \n, composed characters, no NUL bytes, nothing around it. */
export const tidy = (text: string): string =>
  text.replaceAll('\r\n', '\n').replaceAll('\r', '\n').replaceAll('\0', '').normalize('NFC').trim();

/** @throws FILE_EMPTY, INPUT_INVALID where it is larger than a document may be. */
export async function readBytes({ path, name }: Pick<SourceFile, 'path' | 'name'>): Promise<Buffer> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    if (size > MAX_DOCUMENT_BYTES)
      throw new FettleError(
        'INPUT_INVALID',
        `${name} is larger than ${MAX_DOCUMENT_BYTES / 2 ** 20} MB.`,
        'Split it, or save rows as JSONL.',
      );
    if (size === 0) throw empty(name);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

export const empty = (name: string): FettleError =>
  new FettleError('FILE_EMPTY', `${name} is empty.`, 'Check that the right file was given.');

/** The first bytes of a file. */
export async function readHead(path: string, bytes = LOOKED_AT): Promise<Buffer> {
  const handle = await open(path, 'r');
  try {
    const head = Buffer.alloc(bytes);
    return head.subarray(0, (await handle.read(head, 0, bytes, 0)).bytesRead);
  } finally {
    await handle.close();
  }
}
