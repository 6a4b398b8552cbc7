/** @file Asks a model, and exported files of it, the same questions: prompts gone on from, and held-out rows. */
import type { Proof } from '../contract/entities.ts';
import { inPercent } from '../contract/export-types.ts';
import { FettleError } from '../contract/errors.ts';
import { readRows } from '../datasets/rows.ts';
import { exampleOf, type TextModel } from '../datasets/tokens.ts';
import { evaluate, type ExampleLoss } from '../engine/train/evaluate.ts';
import { fitExamples } from '../engine/train/packing.ts';
import type { BaseModel, TunedModel } from '../engine/index.ts';
import type { Decoder, Example, Trainable } from '../engine/types.ts';
import { gap, LOGIT_TOLERANCE, replay, REPLAYED_TOKENS, type Likelihood, type Replay } from '../exports/proof.ts';
import type { ModelFiles } from '../formats/model.ts';
import { CONVERSATIONS } from '../formats/ollama.ts';
import { generalExamples } from '../recipes/rehearsal.ts';
import { openWithLlamaCpp } from './llama-cpp.ts';
import { spread } from './spread.ts';
import { decodersOf } from './together.ts';
import type { OtherReader } from './other-reader.ts';
import { openWithTransformersJs } from './transformers-js.ts';

export interface Questions {
  readonly prompts: readonly (readonly number[])[];
  readonly rows: readonly Example[];
  readonly instruct: boolean;
  /** Tokens that a prompt or a row has at most. */
  readonly maxLength: number;
}
/** How much of a text is asked about. */
export interface Span {
  /** As the run was trained with; null of one that was made elsewhere. */
  readonly maxLength: number | null;
  /** Of the model. */
  readonly positions: number;
}
export interface Answers {
  readonly replays: readonly Replay[];
  readonly likelihood: Likelihood;
  /** Each row's part of it. */
  readonly rows: readonly ExampleLoss[];
}
/** Exported files under another runtime than the engine's segments. */
type OtherAskable = Pick<Trainable, 'losses'> & { generator(): Decoder };
/** What can be asked: a run's model, or exported files. */
type Askable = BaseModel | TunedModel | OtherAskable;
/** Told how far it is, 0 to 1; may throw to give up. */
type Tell = (share: number) => void;

const PROMPTS = 10;
const PROMPT_TOKENS = 64;
const ROWS = 50;
/** Of the rows that are measured: more than one, so that they go side by side. */
const ROWS_AT_ONCE = 4;
/** Where no run says otherwise. */
const MAX_LENGTH = 512;

/** Of the held-out rows: prompts as the model sees them up to its first answer, or the first tokens of a document. */
export async function questionsOf(file: string, text: TextModel, span: Span): Promise<Questions> {
  const rows: Example[] = [];
  let instruct = true;
  for await (const row of readRows(file)) {
    if (row.split !== 'held-out') continue;
    instruct = row.text === undefined;
    rows.push(exampleOf(row, text));
  }
  return questionsFrom(rows, instruct, span);
}

/** Of general data of Fettle's own: of an adapter that was made elsewhere, in a project without data. */
export async function generalQuestions(text: TextModel, conversations: boolean, span: Span): Promise<Questions> {
  return questionsFrom(await generalExamples(text, conversations), conversations, span);
}

/** Nothing is left out for being long: of a long prompt its last tokens are asked, of a row with one those around its first answer. */
export function questionsFrom(rows: readonly Example[], instruct: boolean, span: Span): Questions {
  const maxLength = Math.min(span.maxLength ?? MAX_LENGTH, span.positions);
  const promptLength = Math.max(1, Math.min(maxLength, span.positions - REPLAYED_TOKENS));
  const prompts = rows.flatMap(({ ids, loss }) => {
    const answer = instruct ? loss.indexOf(1) : Math.min(ids.length, PROMPT_TOKENS);
    return answer > 0 ? [[...ids.subarray(Math.max(0, answer - promptLength), answer)]] : [];
  });
  const reached = instruct ? rows.map((row) => aroundAnswer(row, maxLength)) : rows;
  const fitted = fitExamples(reached, maxLength, instruct ? 'cut' : 'split').examples;
  return { prompts: spread(prompts, PROMPTS), rows: spread(fitted, ROWS), instruct, maxLength };
}

/** Where training would cut off all that is answered: half of the length before the first answer, and half from there on. */
function aroundAnswer(row: Example, maxLength: number): Example {
  const answer = row.loss.indexOf(1);
  if (answer < maxLength) return row;
  const start = answer - Math.floor(maxLength / 2);
  return { ids: row.ids.subarray(start, start + maxLength), loss: row.loss.subarray(start, start + maxLength) };
}

/** Enough to prove anything by. */
export const asksSomething = ({ prompts, rows }: Questions): boolean => prompts.length > 0 && rows.length > 0;

export async function ask(model: Askable, questions: Questions, tell: Tell): Promise<Answers> {
  const { prompts, rows, instruct, maxLength } = questions;
  const decoders = 'batchGenerator' in model ? decodersOf(model, prompts.length) : null;
  const oneByOne = { rows: 1, open: () => model.generator() };
  let replays: Replay[];
  try {
    replays = await replay(decoders ?? oneByOne, prompts, (done) => tell((0.5 * done) / prompts.length));
  } finally {
    await decoders?.release();
  }
  const measured = await evaluate(model, rows, {
    strategy: instruct ? 'instruct' : 'non-instruct',
    maxLength,
    packing: true,
    batchSize: ROWS_AT_ONCE,
    onProgress: (share) => tell(0.5 + 0.5 * share),
  });
  const { loss, tokens, examples } = measured!;
  return { replays, likelihood: { rows: rows.length, tokens, loss }, rows: examples };
}

/** What another program's reading is held against. */
interface Own {
  /** Who read the files for the proof, and what they said. */
  readonly by: string;
  readonly answers: Answers;
  readonly questions: Questions;
  /** What the run itself says. */
  readonly run: Answers;
}
interface ReaderOptions {
  readonly threads: number;
  /** Its numbers are floats: greedy text must be the same where it is clear which token is the best. */
  readonly exact: boolean;
  /** Relative change of the loss from the run's. */
  readonly allowed: number;
  readonly tell?: Tell;
}
type Told = Proof['readers'][number];
type AskedFiles = Pick<ModelFiles, 'tokenizer' | 'stopIds' | 'chatTemplate'>;

/** llama.cpp multiplies in 8 bits where weights are quantised, and so comes out a little otherwise than the same file in 32 bits. */
export const LLAMA_CPP_CHANGE = 0.02;
/** The same runtime, in another version. */
const TRANSFORMERS_JS_CHANGE = 0.002;

/** A GGUF file read by llama.cpp, with a GGUF adapter on it where one is named, against Fettle's own reading of it. Null where llama.cpp is not installed. */
export function askLlamaCpp(
  path: string,
  files: AskedFiles,
  own: Own,
  { lora, ...options }: ReaderOptions & { readonly lora?: string },
): Promise<Told | null> {
  const open = (): Promise<OtherReader | null> =>
    openWithLlamaCpp(path, {
      contextSize: own.questions.maxLength + REPLAYED_TOKENS,
      threads: options.threads,
      ...(lora === undefined ? {} : { lora }),
    });
  return askOther('llama.cpp', open, files, own, {
    ...options,
    most: options.exact ? Math.min(options.allowed, LLAMA_CPP_CHANGE) : LLAMA_CPP_CHANGE,
  });
}

/** An ONNX folder read by transformers.js, against ONNX Runtime's reading of it. Null where transformers.js is not installed. */
export function askTransformersJs(
  folder: string,
  files: AskedFiles,
  own: Own,
  options: ReaderOptions,
): Promise<Told | null> {
  const open = (): Promise<OtherReader | null> => openWithTransformersJs(folder, options);
  return askOther('transformers.js', open, files, own, { ...options, most: TRANSFORMERS_JS_CHANGE });
}

/** Tokens of the rows whose likelihood another program is asked for: they take it as long as reading them takes. */
const LIKELIHOOD_TOKENS = 1000;

/** As many rows, evenly spread, as have no more tokens together; the shortest where none has so few. By their places. */
export function rowsWithin(rows: readonly Example[], most: number): number[] {
  const places = [...rows.keys()];
  const tokens = (some: readonly number[]): number => some.reduce((sum, i) => sum + rows[i]!.ids.length, 0);
  for (let count = rows.length; count > 0; count--) {
    const some = spread(places, count);
    if (tokens(some) <= most) return some;
  }
  return places.toSorted((a, b) => rows[a]!.ids.length - rows[b]!.ids.length).slice(0, 1);
}

/** Mean loss on these rows, in nats a token. */
function lossOn(places: readonly number[], { rows }: Answers): { loss: number; tokens: number } {
  const some = places.map((i) => rows[i]!);
  const tokens = some.reduce((total, { count }) => total + count, 0);
  return { loss: some.reduce((total, { sum }) => total + sum, 0) / tokens, tokens };
}

/** node-llama-cpp refuses beforehand by an error of this name; a runtime that fails says so in its own words. */
const lacksMemory = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'InsufficientMemoryError' ||
    /out of memory|bad_?alloc|(?:insufficient|not enough|failed to allocate)\b.*\b(?:memory|buffer|RAM)|Array buffer allocation failed/i.test(
      error.message,
    ));

const memoryShort = (name: string, cause: unknown): FettleError =>
  new FettleError(
    'MEMORY_SHORT',
    `${name}, which reads the files for the proof, had too little memory to load them.`,
    'Nothing was kept. Close other programs and export again, or choose fewer bits.',
    { cause },
  );

/**
 * Tokens of texts, forms of conversations, ends of answers, greedy text and likelihood.
 * @param options `most`: relative difference of the loss from the other reading of the same files.
 */
async function askOther(
  name: string,
  open: () => Promise<OtherReader | null>,
  files: AskedFiles,
  own: Own,
  { exact, allowed, tell = () => undefined, most }: ReaderOptions & { readonly most: number },
): Promise<Told | null> {
  tell(0);
  let model: OtherReader | null;
  try {
    model = await open();
  } catch (error) {
    if (lacksMemory(error)) throw memoryShort(name, error);
    return { name, found: `It does not load: ${String(error)}`, agrees: false, likelihood: null };
  }
  if (!model) return null;
  try {
    const { prompts, rows } = own.questions;
    const faults: string[] = [];
    for (const id of files.stopIds) if (!model.ends(id)) faults.push(`token ${id} does not end an answer`);
    if (files.chatTemplate && model.render)
      for (const [i, conversation] of CONVERSATIONS.entries())
        if (model.render(conversation) !== files.chatTemplate.render(conversation, { addGenerationPrompt: true }))
          faults.push(`conversation ${i + 1} takes another form`);
    let same = 0;
    for (const [i, prompt] of prompts.entries()) {
      tell((0.5 * i) / prompts.length);
      const text = files.tokenizer.decode(prompt);
      const wanted = files.tokenizer.encode(text, { parseSpecial: true });
      if (String(model.tokenize(text)) !== String(wanted)) faults.push(`prompt ${i + 1} is cut into other tokens`);
      const { ids, logits } = own.answers.replays[i]!;
      const said = await model.goOn(prompt, ids.length);
      const apart = ids.findIndex((id, t) => id !== said[t]);
      same += apart === -1 ? ids.length : apart;
      if (exact && apart !== -1 && gap(logits[apart]!) > LOGIT_TOLERANCE)
        faults.push(`prompt ${i + 1} is answered otherwise from token ${apart + 1}`);
    }
    const places = rowsWithin(rows, LIKELIHOOD_TOKENS);
    let sum = 0;
    for (const [at, place] of places.entries()) {
      tell(0.5 + (0.5 * at) / places.length);
      sum += await model.loss(rows[place]!);
    }
    const [run, ours] = [lossOn(places, own.run), lossOn(places, own.answers)];
    const loss = sum / run.tokens;
    const apart = loss / ours.loss - 1;
    const change = loss / run.loss - 1;
    if (!(Math.abs(apart) <= most)) faults.push(`the loss on ${places.length} rows differs by ${inPercent(apart)}`);
    const total = own.answers.replays.reduce((count, { ids }) => count + ids.length, 0);
    const found = `${same} of ${total} tokens as ${own.by} reads the file; loss on ${places.length} of the ${rows.length} rows ${inPercent(apart)} off that reading, ${inPercent(change)} off the run (${(100 * allowed).toFixed(1)}% allowed)`;
    return {
      name,
      found: faults.length === 0 ? found : faults.join('; '),
      agrees: faults.length === 0,
      likelihood: { rows: places.length, tokens: run.tokens, run: run.loss, files: loss, change, allowed },
    };
  } finally {
    await model.close();
  }
}
