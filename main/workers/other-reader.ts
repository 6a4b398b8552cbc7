/** @file What is asked of another program that reads exported files. */
import type { Example } from '../engine/types.ts';
import type { ChatMessage } from '../formats/model.ts';

export interface OtherReader {
  readonly name: string;
  /** Ids as it cuts the text, control tokens known. */
  tokenize(text: string): number[];
  /** Whether it ends an answer. */
  ends(id: number): boolean;
  /** A conversation in the model's form, up to where the model is to answer; left out where the program has none of its own. */
  readonly render?: (messages: readonly ChatMessage[]) => string;
  /** Greedy; goes on over the end of an answer. */
  goOn(prompt: readonly number[], tokens: number): Promise<number[]>;
  /** Summed negative log likelihood, in nats, of the tokens that carry loss and have something before them. */
  loss(row: Example): Promise<number>;
  close(): Promise<void>;
}
