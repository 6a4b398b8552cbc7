/** @file Child process: brings data in, and counts its tokens for a model. */
import { importDataset, type ImportRequest, type ImportResult } from '../datasets/import.ts';
import { readRows } from '../datasets/rows.ts';
import { tokenStats } from '../datasets/tokens.ts';
import type { TokenStats } from '../contract/entities.ts';
import { openModel } from '../formats/open.ts';
import { runChild } from './child.ts';

export type DataJob =
  | { readonly task: 'import'; readonly request: ImportRequest }
  | { readonly task: 'tokens'; readonly rows: string; readonly model: string; readonly maxLength: number };
export type DataResult = ImportResult | TokenStats;

runChild<DataJob, never, DataResult>(async (job) => {
  if (job.task === 'import') return importDataset(job.request);
  const model = await openModel(job.model);
  await model.close();
  return tokenStats(readRows(job.rows), { tokenizer: model.tokenizer, template: model.chatTemplate }, job.maxLength);
});
