/** @file Writes a dataset version: rows, index and what was dropped, in a temporary folder that gets its name when it is whole. */
import { createHash, hash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { DroppedReason } from '../contract/entities.ts';
import { Growing } from './growing.ts';
import { HELD_OUT, INDEX_FILE, INDEX_RECORD, ROWS_FILE, type Content, type StoredRow } from './rows.ts';
import { Seen } from './seen.ts';
import { chooseDocuments, chooseRows } from './split.ts';

export const DROPPED_FILE = 'dropped.jsonl';
const BLOCK = 4 << 20;
const EXAMPLES_KEPT = 5;
/** Of a dropped row that much is kept to be looked at. */
const RAW_KEPT = 2000;
const TRAIN = 1;
const HELD = 2;

export interface Version {
  readonly id: string;
  readonly hash: string;
  readonly rows: number;
  readonly trainRows: number;
  readonly heldOutRows: number;
  readonly words: number;
  /** Of rows.jsonl. */
  readonly bytes: number;
  readonly dropped: DroppedReason[];
  readonly duplicates: number;
}

/** Appends to a file by large blocks; synchronous, for a child process that does nothing else. */
class Appender {
  readonly #fd: number;
  readonly #onBlock: (block: Buffer) => void;
  readonly #block = Buffer.allocUnsafe(BLOCK);
  #filled = 0;
  bytes = 0;

  constructor(path: string, onBlock: (block: Buffer) => void = () => undefined) {
    this.#fd = openSync(path, 'w');
    this.#onBlock = onBlock;
  }

  /** @returns where the text begins in the file. */
  add(text: string): number {
    const at = this.bytes;
    // A character takes at most three bytes (two of UTF-16 make four).
    if (text.length * 3 > BLOCK - this.#filled) this.#flush();
    if (text.length * 3 > BLOCK) this.#write(Buffer.from(text));
    else {
      const size = this.#block.write(text, this.#filled);
      this.#filled += size;
      this.bytes += size;
    }
    return at;
  }

  #write(block: Buffer): void {
    this.#onBlock(block);
    for (let at = 0; at < block.length;) at += writeSync(this.#fd, block, at);
    this.bytes += block.length;
  }

  #flush(): void {
    this.bytes -= this.#filled;
    this.#write(this.#block.subarray(0, this.#filled));
    this.#filled = 0;
  }

  close(): void {
    try {
      this.#flush();
      fsyncSync(this.#fd);
    } finally {
      closeSync(this.#fd);
    }
  }
}

export class VersionWriter {
  readonly #folder: string;
  readonly #temporary: string;
  readonly #hash = createHash('sha256');
  readonly #rows: Appender;
  readonly #dropped: Appender;
  readonly #offsets = new Growing(Float64Array);
  /** From each row's digest: decides who is held out. */
  readonly #keys = new Growing(Uint32Array);
  /** Words of documents; of rows, which count alike, nothing. */
  readonly #weights = new Growing(Float32Array);
  /** 0 where it is not known yet. */
  readonly #splits = new Growing(Uint8Array);
  #given = false;
  readonly #seen = new Seen();
  readonly #reasons = new Map<string, DroppedReason>();
  #words = 0;
  #duplicates = 0;

  /** @param folder the project's datasets/ folder; the version becomes a folder in it. */
  constructor(folder: string, part = '') {
    this.#folder = folder;
    this.#temporary = join(folder, `.importing-${process.pid}-${Date.now()}${part}`);
    mkdirSync(this.#temporary, { recursive: true });
    this.#rows = new Appender(join(this.#temporary, ROWS_FILE), (block) => this.#hash.update(block));
    this.#dropped = new Appender(join(this.#temporary, DROPPED_FILE));
  }

  get count(): number {
    return this.#offsets.length;
  }

  /** @returns false where the same row is there already: then it is not added. @param split where it is known. */
  add(content: Content, split?: StoredRow['split']): boolean {
    const body = JSON.stringify(content.messages ?? content.text);
    const tools = content.tools ? `,"tools":${JSON.stringify(content.tools)}` : '';
    const digest = hash('sha256', body + (content.rejected ?? '') + tools, 'buffer');
    if (!this.#seen.add(digest)) {
      this.#duplicates++;
      return false;
    }
    const name = content.messages ? 'messages' : 'text';
    const rejected = content.rejected === undefined ? '' : `,"rejected":${JSON.stringify(content.rejected)}`;
    const words = wordsOf(content) + countWords(tools);
    this.#splits.push(split === undefined ? 0 : split === 'train' ? TRAIN : HELD);
    this.#given ||= split !== undefined;
    this.#offsets.push(
      this.#rows.add(`{"source":${JSON.stringify(content.source)},"${name}":${body}${tools}${rejected}}\n`),
    );
    this.#keys.push(digest.readUInt32BE(0));
    if (content.text !== undefined) this.#weights.push(words);
    this.#words += words;
    return true;
  }

  drop(reason: string, file: string, line: number | null, raw: string): void {
    const entry = this.#reasons.get(reason) ?? { reason, count: 0, examples: [] };
    entry.count++;
    if (entry.examples.length < EXAMPLES_KEPT) entry.examples.push({ file, line });
    this.#reasons.set(reason, entry);
    this.#dropped.add(`${JSON.stringify({ file, line, reason, raw: raw.slice(0, RAW_KEPT) })}\n`);
  }

  /** Chooses who is held out among the rows whose split was not given, and gives the version its name. */
  finish(share: number): Version {
    this.#rows.close();
    this.#dropped.close();
    const count = this.count;
    const isHeldOut = this.#heldOut(share);
    let heldOutRows = 0;
    const index = Buffer.alloc(count * INDEX_RECORD);
    for (let i = 0; i < count; i++) {
      index.writeUIntLE(this.#offsets.at(i), i * INDEX_RECORD, 6);
      if (!isHeldOut(i)) continue;
      index.writeUInt16LE(HELD_OUT, i * INDEX_RECORD + 6);
      heldOutRows++;
    }
    const fd = openSync(join(this.#temporary, INDEX_FILE), 'w');
    for (let at = 0; at < index.length;) at += writeSync(fd, index, at);
    fsyncSync(fd);
    closeSync(fd);
    const digest = this.#hash.update(index).digest('hex');
    const id = digest.slice(0, 12);
    // A version is immutable: the same content is the same version, and what is there stays.
    if (existsSync(join(this.#folder, id, INDEX_FILE))) this.discard();
    else renameSync(this.#temporary, join(this.#folder, id));
    return {
      id,
      hash: digest,
      rows: count,
      trainRows: count - heldOutRows,
      heldOutRows,
      words: this.#words,
      bytes: this.#rows.bytes,
      dropped: this.dropped,
      duplicates: this.#duplicates,
    };
  }

  get dropped(): DroppedReason[] {
    return [...this.#reasons.values()].sort((a, b) => b.count - a.count);
  }

  /** Leaves nothing behind. */
  discard(): void {
    rmSync(this.#temporary, { recursive: true, force: true });
  }

  #heldOut(share: number): (row: number) => boolean {
    const keys = this.#keys.view();
    if (!this.#given)
      return this.#weights.length === this.count
        ? chooseDocuments(keys, this.#weights.view(), share)
        : chooseRows(keys, share);
    // Rows that joined later are learned from: what was held out stays what everything is judged by.
    return (row) => this.#splits.at(row) === HELD;
  }
}

function wordsOf({ text, messages = [], rejected = '' }: Content): number {
  let words = countWords(text ?? rejected);
  for (const turn of messages) words += countWords(turn.content);
  return words;
}

/** Runs of what is no white space. */
export function countWords(text: string): number {
  let count = 0;
  let inside = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const word = code > 32 && code !== 0xa0 && code !== 0x3000;
    if (word && !inside) count++;
    inside = word;
  }
  return count;
}
