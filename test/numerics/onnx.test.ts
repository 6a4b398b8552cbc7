/** @file ONNX exports in the hands of others: transformers.js and onnxruntime-genai read the folder and say what Fettle says. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Proof } from '../../main/contract/entities.ts';
import { ALLOWED, ONNX_TYPES } from '../../main/contract/export-types.ts';
import { graphPath, writeOnnxFolder, type OnnxType } from '../../main/engine/export/folder.ts';
import { OnnxReader } from '../../main/engine/export/read.ts';
import { loadBase } from '../../main/engine/index.ts';
import { evaluate } from '../../main/engine/train/evaluate.ts';
import { chatExample } from '../../main/engine/train/examples.ts';
import { compareAnswers, replay, REPLAYED_TOKENS } from '../../main/exports/proof.ts';
import { CONVERSATIONS } from '../../main/formats/ollama.ts';
import { openModel } from '../../main/formats/open.ts';
import { loadModel, type LoadedModel } from '../../main/workers/load.ts';
import { ask, askTransformersJs, type Answers, type Questions } from '../../main/workers/prove.ts';
import { openWithTransformersJs } from '../../main/workers/transformers-js.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { askGenai, type GenaiAnswer } from '../support/genai.ts';
import { openModelFolder } from '../support/models.ts';
import { found, need } from '../support/needs.ts';
import { runOracle } from '../support/oracle.ts';
import { conversations, SAMPLE_PAIRS } from '../support/smollm2.ts';

const root = mkdtempSync(join(tmpdir(), 'fettle-onnx-'));
/** Two would spin while they wait for each other where another test is at work beside. */
const THREADS = 1;
/** For one type on a machine that is slow and busy: time is measured elsewhere. */
const PATIENCE = 600_000;
/** Tokens of the row whose likelihood onnxruntime-genai is asked for, one call each. */
const LIKELIHOOD_TOKENS = 60;
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A model opened once, with what it answers: all types are compared with the same. */
interface Subject {
  readonly run: LoadedModel;
  readonly questions: Questions;
  readonly expected: Answers;
}
async function subjectOf(path: string, rows: number): Promise<Subject> {
  const run = await loadModel(path, THREADS);
  const text = { tokenizer: run.files.tokenizer, template: run.template };
  const examples = (await conversations(SAMPLE_PAIRS, rows, ['instruction', 'response'])).map((messages) =>
    chatExample(messages, text),
  );
  const questions: Questions = {
    prompts: examples.slice(0, 3).map(({ ids, loss }) => [...ids.subarray(0, loss.indexOf(1))]),
    rows: examples,
    instruct: true,
    maxLength: 512,
  };
  return { run, questions, expected: await ask(run.base, questions, () => undefined) };
}

interface Read {
  readonly proof: Proof;
  readonly answers: Answers;
  readonly transformersJs: Proof['readers'][number];
  readonly genai: GenaiAnswer;
  /** Its numbers are floats. */
  readonly exact: boolean;
  /** What ONNX Runtime says of the tokens whose likelihood onnxruntime-genai was asked for. */
  readonly loss: number;
}

/** Writes the folder, and has it read by ONNX Runtime, transformers.js and onnxruntime-genai. */
async function readByAll({ run, questions, expected }: Subject, type: OnnxType, python: string): Promise<Read> {
  const folder = mkdtempSync(join(root, `${type}-`));
  await writeOnnxFolder(folder, run.files, type, () => undefined);
  const reader = await OnnxReader.open(graphPath(folder, type), { threads: THREADS, maxTokens: 512 });
  try {
    const answers = await ask(reader, questions, () => undefined);
    const own = { by: 'us', answers, questions, run: expected };
    const exact = type === 'f32' || type === 'f16';
    const other = await askTransformersJs(folder, run.files, own, { threads: THREADS, exact, allowed: ALLOWED[type] });
    const [first] = questions.rows;
    const from = first!.loss.indexOf(1) - 1;
    const ids = first!.ids.slice(0, from + LIKELIHOOD_TOKENS);
    const cut = { ids, loss: Uint8Array.from(ids, (_, i) => Number(i > from)) };
    const alone = { strategy: 'instruct', maxLength: ids.length, packing: false, batchSize: 1 } as const;
    const measured = (await evaluate(reader, [cut], alone))!;
    const genai = askGenai(python, {
      model: folder,
      texts: questions.prompts.map((prompt) => run.files.tokenizer.decode(prompt)),
      conversation: CONVERSATIONS[0]!,
      prompts: questions.prompts,
      maxTokens: REPLAYED_TOKENS,
      row: [...ids],
      from,
    });
    const proof = compareAnswers(expected, answers, type);
    return { proof, answers, transformersJs: other!, genai, exact, loss: measured.loss * measured.tokens };
  } finally {
    await reader.release();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Opened by the first test that needs it, closed after the last. */
function once(open: () => Promise<Subject>): () => Promise<Subject> {
  let opened: Promise<Subject> | undefined;
  afterAll(async () => (await opened)?.run.close());
  return () => (opened ??= open());
}

/** Both clients find the files by themselves, cut texts alike, write conversations alike, answer alike and end alike. */
function expectAgreement({ run, questions }: Subject, { answers, transformersJs, genai, loss, exact }: Read): void {
  expect(transformersJs).toMatchObject({ agrees: true });
  expect(genai.tokens).toEqual(questions.prompts.map((prompt) => [...prompt]));
  expect(genai.conversation).toBe(run.template.render(CONVERSATIONS[0]!, { addGenerationPrompt: true }));
  // Another version of the same runtime.
  expect(Math.abs(genai.loss / loss - 1)).toBeLessThan(0.005);
  // Of rounded weights the likelihood decides: versions round the other factor in their own ways.
  if (!exact) return;
  answers.replays.forEach(({ ids }, i) => {
    const stop = ids.findIndex((id) => run.files.stopIds.includes(id));
    expect(genai.greedy[i]).toEqual(stop === -1 ? ids : ids.slice(0, stop + 1));
  });
}

describe('ONNX of a tiny model', () => {
  const subject = once(async () => subjectOf(await writeTinyModel(join(root, 'model')), 6));

  it.for(ONNX_TYPES)('%s', { timeout: PATIENCE }, async (type, test) => {
    process.env.FETTLE_TRANSFORMERS_JS = need(test, 'transformers.js', found.transformersJs);
    const read = await readByAll(await subject(), type, need(test, 'oracle', found.python));
    expectAgreement(await subject(), read);
    if (type === 'f32') expect(read.proof.verdict).toBe('equal');
  });
});

describe('ONNX of every architecture, which both clients are told nothing of', () => {
  const NAMES = ['mistral', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'gpt2'];
  const folder = join(root, 'architectures');
  let made = false;

  it.for(NAMES)('%s', { timeout: PATIENCE }, async (name, test) => {
    const python = need(test, 'oracle', found.python);
    process.env.FETTLE_TRANSFORMERS_JS = need(test, 'transformers.js', found.transformersJs);
    if (!made) runOracle(python, 'tiny_models.py', [folder, ...NAMES]);
    made = true;
    // They have no tokenizers of their own; ids are all that is asked for.
    const { tokenizer, close } = await openModel(await writeTinyModel(join(root, 'tiny')));
    const { config, weights } = await openModelFolder(join(folder, name, 'model'));
    const base = await loadBase(config, weights, { threads: THREADS });
    const out = mkdtempSync(join(root, `${name}-`));
    try {
      const [stop, prompt] = [2, [5, 17, 40, 33, 21, 60, 8, 9, 10, 11, 12]];
      await writeOnnxFolder(
        out,
        { config, weights, tokenizer, chatTemplate: null, stopIds: [stop] },
        'f32',
        () => undefined,
      );
      const [own] = await replay({ rows: 1, open: () => base.generator() }, [prompt]);
      const { ids } = own!;
      const other = (await openWithTransformersJs(out, { threads: THREADS }))!;
      expect(await other.goOn(prompt, REPLAYED_TOKENS)).toEqual(ids);
      await other.close();
      const asked = { model: out, texts: [], conversation: null, prompts: [prompt], maxTokens: REPLAYED_TOKENS };
      const { greedy } = askGenai(python, { ...asked, row: prompt, from: 0 });
      expect(greedy[0]).toEqual(ids.includes(stop) ? ids.slice(0, ids.indexOf(stop) + 1) : ids);
    } finally {
      await base.release();
      await weights.close();
      await close();
    }
  });
});

describe('ONNX of SmolLM2', () => {
  const subject = once(() => subjectOf(found.starter!, 12));

  it.for(ONNX_TYPES)('%s', { timeout: PATIENCE }, async (type, test) => {
    need(test, 'starter', found.starter);
    process.env.FETTLE_TRANSFORMERS_JS = need(test, 'transformers.js', found.transformersJs);
    const read = await readByAll(await subject(), type, need(test, 'oracle', found.python));
    expectAgreement(await subject(), read);
    const { change } = read.proof.likelihood!;
    expect([type, change, Math.abs(change) <= ALLOWED[type]]).toEqual([type, change, true]);
    if (type === 'f32') expect(read.proof.verdict).toBe('equal');
  });
});
