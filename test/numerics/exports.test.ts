/** @file Exports in the hands of others: GGUF files of every type in llama.cpp, Ollama's templates in Go. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Proof } from '../../main/contract/entities.ts';
import { ALLOWED, GGUF_TYPES, inPercent } from '../../main/contract/export-types.ts';
import { chatExample } from '../../main/engine/train/examples.ts';
import { compareAnswers } from '../../main/exports/proof.ts';
import { chatTemplate } from '../../main/formats/chat-template.ts';
import { writeModelGguf, type GgufQuant } from '../../main/formats/gguf/export.ts';
import { CONVERSATIONS, ollamaTemplate } from '../../main/formats/ollama.ts';
import { loadModel, type LoadedModel } from '../../main/workers/load.ts';
import { ask, askLlamaCpp, type Answers, type Questions } from '../../main/workers/prove.ts';
import { TEMPLATES } from '../fixtures/templates.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { found, need } from '../support/needs.ts';
import { conversations, SAMPLE_PAIRS } from '../support/smollm2.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-exports-'));
const facts = { name: 'A test', license: null };
/** Two would spin while they wait for each other, above all llama.cpp's: with another test at work beside, six times slower. */
const THREADS = 1;
/** For one type on a machine that is slow and busy: time is measured elsewhere. */
const PATIENCE = 600_000;
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A model opened once, with what it answers: all types are compared with the same. */
interface Subject {
  readonly run: LoadedModel;
  readonly questions: Questions;
  readonly expected: Answers;
}
async function subjectOf(path: string): Promise<Subject> {
  const run = await loadModel(path, THREADS);
  const text = { tokenizer: run.files.tokenizer, template: run.template };
  const examples = (await conversations(SAMPLE_PAIRS, 6, ['instruction', 'response'])).map((messages) =>
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

/** Writes the model, reads it by Fettle and by llama.cpp, and tells how it went. */
async function proven(
  { run, questions, expected }: Subject,
  type: GgufQuant,
): Promise<{ proof: Proof; other: Proof['readers'][number] }> {
  const file = join(folder, `${type}.gguf`);
  try {
    await writeModelGguf(file, run.files, type, facts);
    const read = await loadModel(file, THREADS);
    try {
      const answers = await ask(read.base, questions, () => undefined);
      const exact = ['f32', 'f16'].includes(type);
      const own = { by: 'us', answers, questions, run: expected };
      const other = await askLlamaCpp(file, read.files, own, { threads: THREADS, exact, allowed: ALLOWED[type] });
      return { proof: compareAnswers(expected, answers, type), other: other! };
    } finally {
      await read.close();
    }
  } finally {
    rmSync(file, { force: true });
  }
}

/** Opened by the first test that needs it, closed after the last. */
function once(open: () => Promise<Subject>): () => Promise<Subject> {
  let opened: Promise<Subject> | undefined;
  afterAll(async () => (await opened)?.run.close());
  return () => (opened ??= open());
}

describe('GGUF in llama.cpp, of a model whose rows divide by 256', () => {
  const subject = once(async () => subjectOf(await writeTinyModel(join(folder, 'wide'), { hidden: 256 })));

  it.for(GGUF_TYPES)('%s', { timeout: PATIENCE }, async (type, test) => {
    process.env.FETTLE_LLAMA_CPP = need(test, 'llama.cpp', found.llamaCpp);
    const { other } = await proven(await subject(), type);
    expect(other).toMatchObject({ agrees: true });
  });

  it('goes on over the end of an answer, as Fettle does', { timeout: PATIENCE }, async (test) => {
    process.env.FETTLE_LLAMA_CPP = need(test, 'llama.cpp', found.llamaCpp);
    const { run, ...asked } = await subject();
    const said = asked.expected.replays[0]!.ids[2]!;
    const files = { ...run.files, stopIds: [...run.files.stopIds.slice(0, 1), said] };
    const { other } = await proven({ ...asked, run: { ...run, files } }, 'f32');
    expect(other.agrees).toBe(true);
    expect(other.found).toMatch(/^72 of 72 tokens/);
  });
});

describe('GGUF in llama.cpp, of SmolLM2, whose rows do not', () => {
  const subject = once(() => subjectOf(found.starter!));

  it.for(GGUF_TYPES)('%s', { timeout: PATIENCE }, async (type, test) => {
    need(test, 'starter', found.starter);
    process.env.FETTLE_LLAMA_CPP = need(test, 'llama.cpp', found.llamaCpp);
    const { proof, other } = await proven(await subject(), type);
    expect(other).toMatchObject({ agrees: true });
    if (type === 'f32') expect(proof.verdict).toBe('equal');
    const changes = [proof, other].map(({ likelihood }) => likelihood!.change);
    const within = changes.every((change) => Math.abs(change) <= ALLOWED[type]);
    console.log(`SmolLM2, ${type}: the loss ${changes.map(inPercent).join(' in Fettle, ')} in llama.cpp off`);
    // So few bits may be too few for a model of this size: then the export is refused with this figure. These weights came
    // in 4 bits themselves and change less than tuned ones do; test/bench/exports.ts measures those.
    if (!type.startsWith('q4')) expect([type, changes, within]).toEqual([type, changes, true]);
  });
});

describe('Ollama’s templates in Go', () => {
  it.for(Object.entries(TEMPLATES))('%s gives the model’s own text', { timeout: PATIENCE }, ([, source], test) => {
    const go = need(test, 'golang', found.go);
    const template = chatTemplate(source, { bosToken: '<s>', eosToken: '</s>' });
    const [request, answer] = [join(folder, 'request.json'), join(folder, 'answer.json')];
    const asked = CONVERSATIONS.map((messages) =>
      messages.map(({ role, content }) => ({ Role: role, Content: content })),
    );
    writeFileSync(request, JSON.stringify({ Template: ollamaTemplate(template, '<s>').source, Conversations: asked }));
    execFileSync(go, ['run', join(import.meta.dirname, 'ollama/render.go'), request, answer], {
      env: { ...process.env, GOCACHE: join(folder, 'go'), GOFLAGS: '-mod=mod', GO111MODULE: 'off', HOME: folder },
    });
    const texts = JSON.parse(readFileSync(answer, 'utf8')) as string[];
    expect(texts).toEqual(
      CONVERSATIONS.map((messages) => {
        const text = template.render(messages, { addGenerationPrompt: true });
        return text.startsWith('<s>') ? text.slice(3) : text;
      }),
    );
  });
});
