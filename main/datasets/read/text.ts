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
/** Read at once. A line that is longer says nothing of an encoding. */
const PIECE = 1 << 22;

/** Lines with letters that are not ASCII: UTF-8, and not. */
class Utf8Lines {
  good = 0;
  bad = 0;
  /** Of all that were seen, from 1. */
  firstBad = 0;
  #lines = 0;

  /** Whole lines, without the end of the last one. */
  judge(lines: Uint8Array): void {
    if (isAscii(lines) || (this.good >= SETTLED && isUtf8(lines))) return void (this.#lines += count(lines));
    for (let from = 0; from <= lines.length;) {
      const end = lines.indexOf(10, from);
      const line = lines.subarray(from, end < 0 ? lines.length : end);
      this.#lines++;
      if (!isAscii(line) && isUtf8(line)) this.good++;
      else if (!isAscii(line)) {
        this.bad++;
        this.firstBad ||= this.#lines;
      }
      from = end < 0 ? lines.length + 1 : end + 1;
    }
  }

  /** More lines that are not UTF-8 than are: another encoding, and no broken byte. */
  get isOther(): boolean {
    return this.bad > this.good;
  }
}

function count(lines: Uint8Array): number {
  let found = 1;
  for (let at = lines.indexOf(10); at >= 0; at = lines.indexOf(10, at + 1)) found++;
  return found;
}

/**
 * Whether a whole file is UTF-8, line by line: the first letter that is not ASCII may stand anywhere. One buffer for all of it:
 * this runs before every import.
 */
export async function utf8Lines(path: string): Promise<Pick<Utf8Lines, 'good' | 'bad' | 'isOther'>> {
  const lines = new Utf8Lines();
  const handle = await open(path, 'r');
  try {
    const piece = Buffer.allocUnsafe(PIECE);
    let kept = 0;
    // Within a line that is longer than a piece.
    let within = false;
    for (;;) {
      const { bytesRead } = await handle.read(piece, kept, PIECE - kept);
      const filled = piece.subarray(0, kept + bytesRead);
      if (bytesRead === 0) {
        if (!within) lines.judge(filled);
        return lines;
      }
      const end = filled.lastIndexOf(10);
      if (end >= 0) {
        lines.judge(filled.subarray(within ? filled.indexOf(10) : 0, end));
        within = false;
      }
      within ||= end < 0 && filled.length === PIECE;
      kept = within ? 0 : filled.length - end - 1;
      piece.copyWithin(0, end + 1, end + 1 + kept);
    }
  } finally {
    await handle.close();
  }
}

/** @throws FILE_ENCODING where the bytes are no text, in the encoding that is given or in any. */
export function decode(bytes: Uint8Array, name: string, given?: Encoding): string {
  const encoding = given ?? encodingOfAll(bytes, name);
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw notText(name);
  }
  return checked(text, name);
}

/** Of a whole text. @throws FILE_ENCODING where it is UTF-8 but for some bytes: read as another encoding, all its letters would be wrong. */
function encodingOfAll(bytes: Uint8Array, name: string): Encoding {
  const begun = encodingOf(bytes);
  if (begun.startsWith('utf-16')) return begun;
  if (isUtf8(bytes)) return 'utf-8';
  const lines = new Utf8Lines();
  lines.judge(bytes);
  if (lines.isOther) return 'windows-1252';
  throw new FettleError(
    'FILE_ENCODING',
    `${name} is UTF-8, but line ${lines.firstBad.toLocaleString('en')} holds bytes that are not.`,
    'Mend that line, or save the file as UTF-8 again.',
  );
}

/** Text has line ends and tabs; a file full of other control characters is something else. */
function checked(text: string, name: string): string {
  const strange =
    text.slice(0, LOOKED_AT).match(/[\u0001-\u0008\u000e-\u001a\u001c-\u001f\u007f-\u009f]/g)?.length ?? 0;
  if (strange > Math.min(text.length, LOOKED_AT) * 0.02) throw notText(name);
  return text;
}

/** Characters of a part. */
const PART = 4 << 20;

/**
 * A text that is too large for one document, in parts that end with a paragraph, else with a line, and are documents of their own.
 * @throws FILE_ENCODING
 */
export async function* partsOfText(
  { path, name }: Pick<SourceFile, 'path' | 'name'>,
  onBytes: (bytes: number) => void = () => undefined,
): AsyncIterable<string> {
  const head = encodingOf(await readHead(path));
  const { isOther } = await utf8Lines(path);
  const encoding = head.startsWith('utf-16') ? head : isOther ? 'windows-1252' : 'utf-8';
  const decoder = new TextDecoder(encoding, { fatal: true });
  let text = '';
  let read = 0;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      text += decoder.decode(chunk, { stream: true });
      onBytes((read += chunk.length));
      if (text.length < 2 * PART) continue;
      const paragraph = text.lastIndexOf('\n\n');
      const end = paragraph >= PART ? paragraph : text.lastIndexOf('\n');
      const at = end >= PART ? end : text.length;
      yield tidy(checked(text.slice(0, at), name));
      text = text.slice(at);
    }
    text += decoder.decode();
  } catch (error) {
    throw error instanceof FettleError ? error : notText(name);
  }
  yield tidy(checked(text, name));
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
