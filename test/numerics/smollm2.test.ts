/** @file SmolLM2 from its GGUF file against transformers on the same token ids: held-out loss, greedy text, and an exported adapter's logits. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadBase, Random, type BaseModel } from '../../main/engine/index.ts';
import { generate } from '../../main/engine/generate/generate.ts';
import { chatExample, chatPrompt } from '../../main/engine/train/examples.ts';
import { mergeableOf, mergedWeights } from '../../main/engine/model/merge.ts';
import { evaluate } from '../../main/engine/train/evaluate.ts';
import type { Example } from '../../main/engine/types.ts';
import type { ModelFiles } from '../../main/formats/model.ts';
import { writeModelFolder } from '../../main/formats/huggingface/write.ts';
import { openModel } from '../../main/formats/open.ts';
import { writeAdapter } from '../../main/formats/peft.ts';
import { answerAll } from '../../main/workers/together.ts';
import { found, need } from '../support/needs.ts';
import { askAllTransformers, askTransformers, type LanguageModelAnswer } from '../support/oracle.ts';
import { worstDifference } from '../support/numbers.ts';
import { conversations, PROMPTS, SAMPLE_PAIRS } from '../support/smollm2.ts';

/** Relative, for the mean loss over all labelled tokens. */
const LOSS = 2e-3;
/** A divergence of greedy text counts only where the two best logits differ by more. */
const GAP = 1e-3;
const LOGITS = 1e-3;
const ROWS = 50;
/** Two models read 50 rows each on whatever machine this is. */
const PATIENCE = 900_000;
const GREEDY_TOKENS = 64;
const MERGED_TOKENS = 16;
const FIXTURE = join(import.meta.dirname, '../fixtures/smollm2/expected.json');
/** FETTLE_WRITE_FIXTURES=1 writes what transformers says into the fixture that machines without Python check against. */
const WRITE = process.env.FETTLE_WRITE_FIXTURES === '1';

interface Fixture {
  readonly losses: LanguageModelAnswer['losses'];
  readonly greedy: LanguageModelAnswer['greedy'];
}

describe('SmolLM2-135M-Instruct from its GGUF file', { timeout: PATIENCE }, () => {
  let files: ModelFiles | undefined;
  let base: BaseModel | undefined;
  beforeAll(async () => {
    if (!found.starter) return;
    files = await openModel(found.starter);
    base = await loadBase(files.config, files.weights, { threads: 2 });
  });
  afterAll(async () => {
    await base?.release();
    await files?.close();
  });
  const model = (test: { skip(note?: string): void }): { files: ModelFiles; base: BaseModel; gguf: string } => ({
    gguf: need(test, 'starter', found.starter),
    files: files!,
    base: base!,
  });

  const examples = async (file: string, columns: readonly [string, string]): Promise<Example[]> =>
    (await conversations(file, ROWS, columns)).map((row) =>
      chatExample(row, { tokenizer: files!.tokenizer, template: files!.chatTemplate! }),
    );
  const rowsOf = (rows: readonly Example[]): { ids: number[]; loss: number[] }[] =>
    rows.map(({ ids, loss }) => ({ ids: [...ids], loss: [...loss] }));
  const prompts = (): number[][] =>
    PROMPTS.map((content) =>
      chatPrompt([{ role: 'user', content }], { tokenizer: files!.tokenizer, template: files!.chatTemplate! }),
    );

  /** Mean loss over the labelled tokens, several rows packed into one. */
  const meanLoss = async (rows: readonly Example[]): Promise<number> =>
    (await evaluate(base!, rows, { strategy: 'instruct', maxLength: 1024, batchSize: 1, packing: true }))!.loss;
  const meanOf = (losses: Fixture['losses']): number =>
    losses.reduce((a, row) => a + row.sum, 0) / losses.reduce((a, row) => a + row.count, 0);

  async function greedy(ids: readonly number[], maxTokens = GREEDY_TOKENS): Promise<readonly number[]> {
    const decoder = base!.generator();
    try {
      return (await generate({ decoder, tokenizer: files!.tokenizer, ids, maxTokens, stopIds: [] })).ids;
    } finally {
      await decoder.release();
    }
  }
  function sameText(got: readonly number[], wanted: Fixture['greedy'][number], prompt: string): void {
    const at = wanted.ids.findIndex((id, i) => got[i] !== id);
    if (at >= 0) expect(wanted.gaps[at], `${JSON.stringify(prompt)} diverges at token ${at}`).toBeLessThan(GAP);
  }

  it('has the loss that transformers has on pairs of the sample, and says the same', async (test) => {
    model(test);
    const rows = await examples(SAMPLE_PAIRS, ['instruction', 'response']);
    let fixture: Fixture | undefined;
    if (found.python) {
      const answer = askTransformers(found.python, {
        model: found.starter!,
        rows: rowsOf(rows),
        prompts: prompts(),
        maxTokens: GREEDY_TOKENS,
      });
      fixture = { losses: answer.losses, greedy: answer.greedy };
      if (WRITE) writeFileSync(FIXTURE, `${JSON.stringify(fixture)}\n`);
    } else if (existsSync(FIXTURE)) fixture = JSON.parse(readFileSync(FIXTURE, 'utf8')) as Fixture;
    const wanted = need(test, 'oracle', fixture);
    const mean = meanOf(wanted.losses);
    expect(Math.abs((await meanLoss(rows)) - mean) / mean).toBeLessThan(LOSS);
    for (const [i, prompt] of prompts().entries()) sameText(await greedy(prompt), wanted.greedy[i]!, PROMPTS[i]!);
  });

  it('answers several at a time as one by one', async (test) => {
    model(test);
    const { tokenizer } = files!;
    const asked = prompts().map((ids, i) => ({ ids, maxTokens: 12 + 3 * i }));
    const together = await answerAll(base!, asked, { tokenizer, stopIds: [], tell: () => undefined });
    for (const [i, { ids, maxTokens }] of asked.entries())
      expect(together[i]!.ids).toEqual(await greedy(ids, maxTokens));
  });

  it('has the loss that transformers has on 50 rows of gsm8k', async (test) => {
    model(test);
    const rows = await examples(need(test, 'shared-data', found.gsm8k), ['question', 'answer']);
    const mean = meanOf(
      askTransformers(need(test, 'oracle', found.python), { model: found.starter!, rows: rowsOf(rows) }).losses,
    );
    const got = await meanLoss(rows);
    console.log(`gsm8k, ${ROWS} rows: Fettle ${got.toFixed(5)}, transformers ${mean.toFixed(5)}`);
    expect(Math.abs(got - mean) / mean).toBeLessThan(LOSS);
  });

  it('gives an adapter to peft and a merged folder to transformers, with the same logits and text', async (test) => {
    const { gguf } = model(test);
    const python = need(test, 'oracle', found.python);
    const folder = mkdtempSync(join(tmpdir(), 'fettle-adapter-'));
    try {
      const targetModules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
      const lora = base!.withLora({ rank: 8, alpha: 16, targetModules, seed: 3 });
      const random = new Random(7);
      lora.parameters.values.forEach((_, i, values) => (values[i] = random.normal() * 0.02));
      const tensors = lora.parameters.entries.map(({ name, shape, offset, size }) => ({
        name,
        shape,
        data: lora.parameters.values.subarray(offset, offset + size),
      }));
      await writeAdapter(join(folder, 'adapter'), tensors, {
        rank: 8,
        alpha: 16,
        targetModules,
        baseModel: 'SmolLM2-135M-Instruct',
        transposed: false,
      });
      const merged = { ...files!, weights: mergedWeights(mergeableOf(lora), files!.weights, base!.spec) };
      await writeModelFolder(join(folder, 'merged'), merged, { dtype: 'f32' });
      const ids = prompts();
      const [peft, transformers] = askAllTransformers(python, [
        { model: gguf, adapter: join(folder, 'adapter'), logits: ids },
        { model: join(folder, 'merged'), logits: ids, prompts: ids.slice(0, 2), maxTokens: MERGED_TOKENS },
      ]);
      for (const [i, prompt] of ids.entries()) {
        const all = await lora.logits(Int32Array.from(prompt));
        for (const { logits } of [peft!, transformers!])
          expect(worstDifference(all.subarray(-base!.spec.vocab), logits[i]!)).toBeLessThan(LOGITS);
      }
      const said = await answerAll(
        lora,
        ids.slice(0, 2).map((each) => ({ ids: each, maxTokens: MERGED_TOKENS })),
        { tokenizer: files!.tokenizer, stopIds: [], tell: () => undefined },
      );
      for (const [i, wanted] of transformers!.greedy.entries()) sameText(said[i]!.ids, wanted, PROMPTS[i]!);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
