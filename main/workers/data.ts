/** @file Child process for data: previews files, brings them in, looks through versions, counts tokens, makes new versions. */
import type { ImportPreview, Quality } from '../contract/entities.ts';
import { derive, type Derived, type DeriveRequest } from '../datasets/derive.ts';
import { importFiles, type ImportedVersion, type ImportRequest } from '../datasets/import.ts';
import { previewFiles, type PreviewRequest } from '../datasets/preview.ts';
import { inspect } from '../datasets/quality/inspect.ts';
import { countTokens, readLengths } from '../datasets/tokens.ts';
import { openModel } from '../formats/open.ts';
import { conversationTemplate } from '../formats/plain-template.ts';
import { runChild } from './child.ts';

interface CountRequest {
  readonly rows: string;
  /** What openModel takes. */
  readonly model: string;
  /** Where the counts are kept. */
  readonly file: string;
}
export type DataJob =
  | { readonly task: 'preview'; readonly request: PreviewRequest }
  | { readonly task: 'import'; readonly request: ImportRequest }
  | { readonly task: 'inspect'; readonly rows: string }
  | { readonly task: 'tokens'; readonly request: CountRequest }
  | { readonly task: 'derive'; readonly request: DeriveRequest; readonly lengths: string | null };
/** What each task gives. */
export interface DataResults {
  readonly preview: ImportPreview;
  readonly import: ImportedVersion[];
  readonly inspect: Quality;
  readonly tokens: null;
  readonly derive: Derived;
}
export interface DataEvent {
  readonly stage: string;
  readonly share: number;
}

runChild<DataJob, DataEvent, DataResults[keyof DataResults]>(async (job, { emit, requested }) => {
  const cancelled = (): boolean => requested() !== 'none';
  const tell = (stage: string) => (share: number) => emit({ stage, share });
  // A synchronous loop lets no message in: what was asked arrives between blocks, where the loop awaits.
  switch (job.task) {
    case 'preview':
      return previewFiles(job.request);
    case 'import':
      return importFiles(job.request, {
        cancelled,
        onProgress: ({ stage, bytes, totalBytes, rows }) =>
          emit({
            stage: `${stage}: ${rows.toLocaleString('en')} rows`,
            share: totalBytes > 0 ? bytes / totalBytes : 0,
          }),
      });
    case 'inspect':
      return inspect(job.rows, { cancelled, onProgress: (stage, share) => emit({ stage, share }) });
    case 'tokens': {
      const { rows, file } = job.request;
      const model = await openModel(job.request.model);
      await model.close();
      const text = { tokenizer: model.tokenizer, template: conversationTemplate(model) };
      await countTokens(rows, file, text, { cancelled, onProgress: tell('Counting tokens') });
      return null;
    }
    case 'derive': {
      const lengths = job.lengths === null ? null : ((await readLengths(job.lengths))?.tokens ?? null);
      return derive(job.request, lengths, { cancelled, onProgress: tell('Writing the new version') });
    }
  }
});
