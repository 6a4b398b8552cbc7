/** @file Child process: answers the rows of a file and writes them, in their order, as they come. */
import { open, type FileHandle } from 'node:fs/promises';
import type { Sampling } from '../contract/entities.ts';
import { toFettleError } from '../contract/errors.ts';
import type { Row } from '../datasets/map-row.ts';
import { chatPrompt } from '../engine/train/examples.ts';
import { questionIn, readInputs, type InputRow } from '../talk/inputs.ts';
import { outputForm } from '../talk/outputs.ts';
import { runChild } from './child.ts';
import { loadModel, withAdapter } from './load.ts';
import { answerTogether } from './together.ts';

export interface AnswerJob {
  readonly model: string;
  readonly adapter: string | null;
  readonly under: readonly string[];
  readonly threads: number;
  readonly input: string;
  /** Its name says in which form it is written. */
  readonly out: string;
  /** What is written while it is not whole. */
  readonly partial: string;
  readonly columns: readonly string[];
  readonly column: string;
  readonly more: string | null;
  readonly answerColumn: string;
  readonly noteColumn: string;
  readonly system: string;
  readonly sampling: Sampling;
  readonly from: AnswerProgress;
}
/** What is written, so that another process can go on behind it. */
export interface AnswerProgress {
  readonly done: number;
  readonly empty: number;
  readonly failed: number;
  /** Of the file that is written. */
  readonly bytes: number;
}
export interface AnswerEvent extends AnswerProgress {
  /** Generated since this process began, and in how many seconds. */
  readonly tokens: number;
  readonly seconds: number;
}

/** Rows that may be under way or wait for one before them to be written. */
const AHEAD = 32;
/** What was written is flushed and told at most so often. */
const TELL_MS = 500;

interface Answered {
  readonly answer: string;
  readonly note: string;
  /** `broken`: it was stopped in the middle. */
  readonly kind: 'said' | 'empty' | 'failed' | 'broken';
  readonly tokens: number;
}

runChild<AnswerJob, AnswerEvent, AnswerEvent>(async (job, { emit, signal }) => {
  const { columns, answerColumn, noteColumn, sampling } = job;
  const form = outputForm(job.out, [...columns, answerColumn, noteColumn]);
  const { files, template, base, close } = await loadModel(job.model, job.threads, job.under);
  const { tokenizer, stopIds } = files;
  const file = await open(job.partial, job.from.bytes === 0 ? 'w' : 'r+');
  try {
    const model = await withAdapter(base, job.adapter);
    const together = answerTogether(model);
    const began = performance.now();
    const now = { ...job.from, tokens: 0, seconds: 0 };
    const out = createWriter(file, now.bytes);
    if (now.bytes === 0) out.add(form.head);

    const answer = async (each: InputRow, number: number): Promise<Answered> => {
      if ('bad' in each) return { answer: '', note: each.bad, kind: 'failed', tokens: 0 };
      const question = questionIn(each.row, job.column, job.more);
      if (!question) return { answer: '', note: 'nothing was asked', kind: 'empty', tokens: 0 };
      const system = job.system === '' || question[0]?.role === 'system' ? [] : [SYSTEM(job.system)];
      try {
        const made = await together.answer({
          tokenizer,
          ids: chatPrompt([...system, ...question], { tokenizer, template }),
          stopIds,
          maxTokens: sampling.maxTokens,
          // The same whatever else is answered beside it.
          sampling: { ...sampling, seed: sampling.seed + number },
          signal,
        });
        const note = made.reason === 'length' ? `cut after ${made.ids.length} tokens` : '';
        const kind = made.reason === 'aborted' ? 'broken' : 'said';
        return { answer: made.text.trim(), note, kind, tokens: made.ids.length };
      } catch (error) {
        const known = toFettleError(error);
        // Of this row alone, such as a prompt that is too long.
        if (!['INPUT_INVALID', 'PROMPT_TOO_LONG', 'TEMPLATE_FAILED'].includes(known.code)) throw known;
        return { answer: '', note: known.message, kind: 'failed', tokens: 0 };
      }
    };
    let broken = false;
    const write = ({ answer: text, note, kind, tokens }: Answered, each: InputRow): void => {
      // Nothing is written behind a row that was broken off: it begins there when it goes on.
      if (kind === 'broken') broken = true;
      if (broken || kind === 'broken') return;
      const row: Row = 'row' in each ? each.row : {};
      const said = note === '' ? {} : { [noteColumn]: note };
      out.add(form.line({ ...row, [answerColumn]: text, ...said }));
      now.done++;
      now.tokens += tokens;
      if (kind !== 'said') now[kind]++;
    };
    const tell = async (): Promise<void> => {
      now.bytes = await out.flush();
      now.seconds = (performance.now() - began) / 1000;
      emit({ ...now });
    };

    /** Under way, in the order of the rows. */
    const open: { readonly each: InputRow; readonly answered: Promise<Answered> }[] = [];
    let told = began;
    const writeFirst = async (): Promise<void> => {
      const { each, answered } = open.shift()!;
      write(await answered, each);
      if (performance.now() - told < TELL_MS) return;
      told = performance.now();
      await tell();
    };
    let number = 0;
    reading: for await (const block of readInputs(job.input))
      for (const each of block) {
        if (number++ < job.from.done) continue;
        if (signal.aborted) break reading;
        const nth = number;
        const answered = answer(each, nth);
        // Told when it is its turn to be written.
        answered.catch(() => undefined);
        open.push({ each, answered });
        if (open.length >= AHEAD) await writeFirst();
      }
    while (open.length > 0) await writeFirst();
    await tell();
    return { ...now };
  } finally {
    await file.close();
    await close();
  }
});

const SYSTEM = (content: string): { role: 'system'; content: string } => ({ role: 'system', content });

/** Appends behind the first `bytes`; what stood there of a row that was not whole is cut off. */
function createWriter(file: FileHandle, bytes: number): { add(text: string): void; flush(): Promise<number> } {
  let waiting = '';
  let at = bytes;
  let cut = false;
  return {
    add: (text) => void (waiting += text),
    async flush() {
      if (!cut) await file.truncate(at);
      cut = true;
      const buffer = Buffer.from(waiting);
      waiting = '';
      for (let sent = 0; sent < buffer.length;)
        sent += (await file.write(buffer, sent, buffer.length - sent, at + sent)).bytesWritten;
      at += buffer.length;
      await file.sync();
      return at;
    },
  };
}
