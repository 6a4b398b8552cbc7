/** @file The kinds of files that can be read, by the end of their names. Apart, so that a file picker needs none of the readers. */

export const FILE_KINDS = [
  '.jsonl',
  '.ndjson',
  '.json',
  '.csv',
  '.tsv',
  '.parquet',
  '.txt',
  '.text',
  '.md',
  '.markdown',
  '.html',
  '.htm',
  '.docx',
  '.pdf',
  '.epub',
] as const;
export const ARCHIVE = '.zip';
export const READABLE: readonly string[] = [...FILE_KINDS, ARCHIVE];
