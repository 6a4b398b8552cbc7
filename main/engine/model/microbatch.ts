/** @file Cuts a batch into micro-batches that fit the cache, of lengths from a small set, and lists their labelled rows. */
import { FettleError } from '../../contract/errors.ts';
import type { Batch } from '../types.ts';
import { firstKey, MASKED, queryBlocks } from '../layers/attention.ts';
import { PIECES } from './pieces.ts';

/** Some rows of a batch, cut or padded to a length for which programs are compiled. */
export interface MicroBatch {
  readonly rows: number;
  readonly length: number;
  /** [rows, length] */
  readonly ids: Int32Array;
  readonly positions: Int32Array;
  readonly documents: Int32Array;
  /** A row holds several documents, or padding before one, so that the causal mask is not enough. */
  readonly packed: boolean;
  /** For each labelled token: its place in [rows * length], what is to be predicted, its rank among the batch's labels. */
  readonly places: Int32Array;
  readonly labels: Int32Array;
  readonly ranks: Int32Array;
}

/** Lengths are multiples of this, so that few shapes have to be compiled. */
export const LENGTH_STEP = 32;

export const roundedLength = (tokens: number): number => Math.ceil(tokens / LENGTH_STEP) * LENGTH_STEP;

/** Documents of one length, a row each, each of whose tokens is looked at. */
export function documentBatch(...rows: readonly Int32Array[]): Batch {
  const length = rows[0]!.length;
  const ids = new Int32Array(rows.length * length);
  rows.forEach((row, i) => ids.set(row, i * length));
  return {
    rows: rows.length,
    length,
    ids,
    positions: ids.map((_, i) => i % length),
    documents: new Int32Array(ids.length).fill(1),
    labels: ids,
    tokens: ids.length,
    labelled: ids.length,
  };
}

/**
 * @param lanes run at the same time: there is a micro-batch for each where there are rows enough, and those of all lanes
 * together hold `most` tokens. A row that is longer than its share is a micro-batch by itself.
 * Rows of like length come together, so that little is padded; rows that are all padding or carry no label are left out.
 * Throws INPUT_INVALID where the batch contradicts itself.
 */
export function microBatches(batch: Batch, lanes = 1, most = PIECES.cpu.tokens): MicroBatch[] {
  checkBatch(batch);
  const rows = Array.from({ length: batch.rows }, (_, row) => describeRow(batch, row));
  // A row's labels are numbered from those of the rows before it.
  let rank = 0;
  for (const row of rows) {
    row.firstRank = rank;
    rank += row.labelled;
  }
  const used = rows.filter((row) => row.labelled > 0);
  used.sort((a, b) => Number(a.packed) - Number(b.packed) || b.length - a.length || a.row - b.row);
  const total = used.reduce((sum, { length }) => sum + length, 0);
  const tokens = lanes === 1 ? most : Math.ceil(Math.min(most, total) / lanes);
  const result: MicroBatch[] = [];
  for (let at = 0; at < used.length;) {
    const { length, packed } = used[at]!;
    const count = Math.max(1, Math.floor(tokens / length));
    let end = at + 1;
    while (end < used.length && end - at < count && used[end]!.packed === packed && used[end]!.length * 2 > length)
      end++;
    result.push(gatherRows(batch, used.slice(at, end), length, packed));
    at = end;
  }
  return result;
}

interface Row {
  readonly row: number;
  /** What it needs, as a multiple of LENGTH_STEP. */
  readonly length: number;
  readonly packed: boolean;
  readonly labelled: number;
  firstRank: number;
}

function describeRow({ length, documents, labels }: Batch, row: number): Row {
  const base = row * length;
  let used = length;
  while (used > 0 && documents[base + used - 1] === 0) used--;
  let packed = false;
  let labelled = 0;
  for (let i = 0; i < length; i++) {
    if (i < used && documents[base + i] !== documents[base]) packed = true;
    if (labels[base + i]! >= 0) labelled++;
  }
  return {
    row,
    length: Math.max(LENGTH_STEP, roundedLength(used)),
    packed,
    labelled,
    firstRank: 0,
  };
}

function gatherRows(batch: Batch, rows: readonly Row[], length: number, packed: boolean): MicroBatch {
  const cut = (source: Int32Array): Int32Array => {
    const out = new Int32Array(rows.length * length);
    rows.forEach(({ row }, i) => {
      const from = row * batch.length;
      out.set(source.subarray(from, from + Math.min(length, batch.length)), i * length);
    });
    return out;
  };
  const labelled = rows.reduce((sum, row) => sum + row.labelled, 0);
  const [places, labels, ranks] = [new Int32Array(labelled), new Int32Array(labelled), new Int32Array(labelled)];
  let n = 0;
  rows.forEach(({ row, firstRank }, i) => {
    let rank = firstRank;
    for (let t = 0; t < batch.length; t++) {
      const label = batch.labels[row * batch.length + t]!;
      if (label < 0) continue;
      places[n] = i * length + t;
      labels[n] = label;
      ranks[n++] = rank++;
    }
  });
  const micro = { rows: rows.length, length, packed, places, labels, ranks };
  return { ...micro, ids: cut(batch.ids), positions: cut(batch.positions), documents: cut(batch.documents) };
}

function checkBatch(batch: Batch): void {
  const size = batch.rows * batch.length;
  const wrong = (what: string): never => {
    throw new FettleError('INPUT_INVALID', `A batch is wrong: ${what}.`);
  };
  for (const [name, array] of Object.entries({
    ids: batch.ids,
    positions: batch.positions,
    documents: batch.documents,
    labels: batch.labels,
  }))
    if (array.length !== size) wrong(`${name} has ${array.length} entries in place of ${size}`);
  for (let i = 0; i < size; i++) {
    if (batch.positions[i]! < 0 || batch.positions[i]! >= batch.length)
      wrong(`position ${batch.positions[i]} in a row of ${batch.length}`);
    if (batch.labels[i]! >= 0 && batch.documents[i] === 0) wrong('a label on padding');
  }
}

/**
 * What is added to the scores of each query block, by the block's input name: 0 where query and key are of one document,
 * the key is not later and within the window; MASKED elsewhere. [rows, 1, 1, queries, keys from the first it sees].
 * Padding sees padding, so that no row is empty.
 */
export function packedMasks(
  micro: MicroBatch,
  window: number | undefined,
): { name: string; data: Float32Array; shape: number[] }[] {
  const { rows, length, documents } = micro;
  return queryBlocks(length).map(([start, end]) => {
    const from = firstKey(start, window);
    const data = new Float32Array(rows * (end - start) * (end - from)).fill(MASKED);
    for (let row = 0; row < rows; row++)
      for (let query = start; query < end; query++) {
        const document = documents[row * length + query];
        const base = (row * (end - start) + query - start) * (end - from) - from;
        for (let key = firstKey(query, window); key <= query; key++)
          if (documents[row * length + key] === document) data[base + key] = 0;
      }
    return { name: `mask.${start}`, data, shape: [rows, 1, 1, end - start, end - from] };
  });
}

/** Tokens of the document that each token belongs to. */
export function documentLengths({ rows, length, documents }: MicroBatch): Int32Array {
  const lengths = new Int32Array(rows * length);
  for (let row = 0; row < rows; row++)
    for (let start = row * length, end = start; start < (row + 1) * length; start = end) {
      while (end < (row + 1) * length && documents[end] === documents[start]) end++;
      lengths.fill(end - start, start, end);
    }
  return lengths;
}
