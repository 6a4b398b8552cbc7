/** @file What readers give: records one by one, each with where it came from. */

/** What was taken out of a document on reading, so that it can be shown. */
export interface RemovedText {
  readonly what:
    | 'page headers'
    | 'page footers'
    | 'page numbers'
    | 'hyphens at line ends'
    | 'navigation and boilerplate'
    | 'headings and lists';
  readonly count: number;
  /** At most three, at most 120 characters each. */
  readonly examples: readonly string[];
}

/** A row, a whole document, or why there is none. */
export type RawRecord =
  | { readonly kind: 'value'; readonly value: unknown; readonly line: number | null }
  | {
      readonly kind: 'text';
      readonly text: string;
      readonly removed?: readonly RemovedText[];
      /** Of a text that is too large for one document, from 1. */
      readonly part?: number;
    }
  | { readonly kind: 'bad'; readonly reason: string; readonly line: number | null; readonly raw: string };

export interface SourceFile {
  readonly path: string;
  /** What a person sees: the name, below the folder or archive that was given. Never an absolute path. */
  readonly name: string;
  readonly bytes: number;
}

export interface ReadOptions {
  /** Bytes of the file that were read so far. */
  readonly onBytes?: (bytes: number) => void;
}

/** Records by blocks: a step through an async generator for every row costs more than parsing it. */
export type Reader = (file: SourceFile, options: ReadOptions) => AsyncIterable<readonly RawRecord[]>;
