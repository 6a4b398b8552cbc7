/** @file Recommended recipes: what follows from strategy, data, model and memory, what is questioned, what is guarded. */
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Plan } from '../contract/entities.ts';
import type { StoredRow } from '../datasets/rows.ts';
import { readSpec } from '../engine/index.ts';
import { measureRows, planRecipe, type DataSize, type RecipeContext } from './index.ts';

const GB = 1e9;
const model: RecipeContext['model'] = {
  name: 'Small',
  parameters: 135e6,
  spec: readSpec({
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    hidden_act: 'silu',
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 100000,
    tie_word_embeddings: true,
    vocab_size: 49152,
  }),
  modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  contextLength: 2048,
  kind: { value: 'instruct', evidence: [] },
  hasChatTemplate: true,
};
const base: RecipeContext['model'] = { ...model, kind: { value: 'base', evidence: [] }, hasChatTemplate: false };
const gpt2: RecipeContext['model'] = {
  ...base,
  spec: readSpec({
    model_type: 'gpt2',
    architectures: ['GPT2LMHeadModel'],
    n_embd: 32,
    n_layer: 2,
    n_head: 2,
    n_positions: 64,
    n_ctx: 64,
    activation_function: 'gelu_new',
    layer_norm_epsilon: 1e-5,
    vocab_size: 300,
  }),
  modules: ['c_attn', 'c_proj', 'c_fc'],
  contextLength: 64,
};
const pairs: DataSize = {
  prose: false,
  trainRows: 240,
  heldOutRows: 30,
  trainTokens: 40_000,
  heldOutTokens: 5000,
  usualLength: 250,
};
const prose: DataSize = { ...pairs, prose: true, trainRows: 20, trainTokens: 100_000 };

function plan(
  given: Partial<RecipeContext>,
  set: Record<string, unknown> = {},
  freeMemoryBytes = 16 * GB,
): Pick<Plan, 'recipe' | 'reasons' | 'questions' | 'guards' | 'saveable' | 'estimate'> {
  const strategy = given.data?.prose ? 'non-instruct' : 'instruct';
  const machine = { threads: 2, freeMemoryBytes, freeDiskBytes: 100 * GB, tokensPerSecond: () => null };
  return planRecipe({ strategy, model, data: pairs, threads: 2, speeds: null, ...given }, machine, {
    strategy,
    ...set,
  });
}

describe('a recommended recipe', () => {
  it('is for all linear layers of the model, by the names that they have there, and for no others', () => {
    expect(plan({ model: gpt2 }).recipe.targetModules).toEqual(gpt2.modules);
    expect(plan({ model: gpt2 }, { targetModules: 'all-linear' }).recipe.targetModules).toEqual(gpt2.modules);
    expect(plan({ model: gpt2 }, { targetModules: 'c_attn' }).recipe.targetModules).toEqual(['c_attn']);
    expect(() => plan({ model: gpt2 }, { targetModules: 'c_attn,q_proj' })).toThrow(
      expect.objectContaining({ code: 'RECIPE_INVALID', hint: expect.stringContaining('c_fc') as unknown }),
    );
  });

  it('trains in whole only what the model has, by its own names', () => {
    const refused = (hint: string): unknown => expect.objectContaining({ code: 'RECIPE_INVALID', hint });
    expect(plan({}, { modulesToSave: 'embed_tokens' }).recipe.modulesToSave).toEqual(['embed_tokens']);
    // The head of this model is its embedding.
    expect(() => plan({}, { modulesToSave: 'lm_head' })).toThrow(refused('modulesToSave takes embed_tokens, or none.'));
    expect(plan({}).saveable).toEqual(['embed_tokens']);
    expect(plan({ model: gpt2 }).saveable).toEqual(['wte']);
    expect(plan({ model: gpt2 }, { modulesToSave: 'wte' }).recipe.modulesToSave).toEqual(['wte']);
    expect(() => plan({ model: gpt2 }, { modulesToSave: 'embed_tokens' })).toThrow(
      refused('modulesToSave takes wte, or none.'),
    );
  });

  it('goes beyond the length that a model was made for only where its positions are not learned', () => {
    expect(plan({}, { maxLength: 4096 }).questions.map(({ key }) => key)).toContain('maxLength');
    expect(() => plan({ model: gpt2 }, { maxLength: 65 })).toThrow(
      expect.objectContaining({ code: 'RECIPE_INVALID', hint: 'Use maxLength=64 or less.' }),
    );
    expect(plan({ model: gpt2 }).recipe.maxLength).toBe(64);
  });

  it('has rows of several examples, longer than the quickest only where an example is', () => {
    const length = (data: Partial<DataSize>, set = {}): number =>
      plan({ data: { ...pairs, ...data } }, set).recipe.maxLength;
    expect(length({ usualLength: 100 })).toBe(512);
    // Nobody counted the longest: it may have up to 1,024.
    expect(length({})).toBe(1024);
    expect(length({ longest: 485 })).toBe(512);
    expect(length({ longest: 553 })).toBe(640);
    expect(length({ longest: 5000 })).toBe(1024);
    expect(length({ usualLength: 60, longest: 700 })).toBe(256);
  });

  it('counts the longest among those with most words, digits and signs', async () => {
    const texts = ['a few words', '1234567890 '.repeat(3), ...Array.from({ length: 100 }, () => 'so many words')];
    const rows = texts.map((content, index): StoredRow => {
      return { index, split: 'train', source: 'made', messages: [{ role: 'user', content }] };
    });
    const measured = async (total: number): Promise<readonly StoredRow[]> =>
      (await measureRows(Readable.from(rows) as AsyncIterable<StoredRow>, total)).longestRows;
    const found = await measured(rows.length);
    expect(found).toHaveLength(32);
    expect(found[0]).toBe(rows[1]);
    // Of more than were looked at the longest is not known.
    expect(await measured(rows.length + 1)).toEqual([]);
  });

  it('has more rank for more data, and twice the rank as alpha', () => {
    const ranks = [pairs, { ...pairs, trainRows: 20_000 }, prose, { ...prose, trainTokens: 5e6 }].map((data) => {
      const { rank, alpha } = plan({ data }).recipe;
      expect(alpha).toBe(2 * rank);
      return rank;
    });
    expect(ranks).toEqual([16, 32, 32, 64]);
  });

  it('says why and what is usual for every value', () => {
    const { recipe, reasons } = plan({ data: prose });
    for (const key of Object.keys(recipe).filter((each) => each !== 'version'))
      expect(reasons[key], key).toMatchObject({
        reason: expect.any(String) as unknown,
        usual: expect.any(String) as unknown,
      });
  });

  it('gives up time where memory is short, then exactness, then the length of its rows, and says so', () => {
    const one = { batchSize: 1 };
    const needed = (set: Record<string, unknown>): number =>
      plan({ data: prose }, { ...one, ...set }).estimate.memoryBytes;
    const roomy = plan({ data: prose });
    expect(roomy.recipe).toMatchObject({ activationCheckpointing: false, precision: 'fp32', maxLength: 512 });

    const again = needed({ activationCheckpointing: true });
    const tight = plan({ data: prose }, one, again);
    expect(tight.recipe).toMatchObject({ activationCheckpointing: true, precision: 'fp32', maxLength: 512 });
    expect(tight.estimate.fits).toBe(true);
    expect(tight.reasons['activationCheckpointing']?.reason).toContain('of memory are free');

    let most = again;
    for (const [precision, words] of [
      ['fp16', '16 bits'],
      ['int4', '4 bits'],
    ] as const) {
      const tighter = plan({ data: prose }, one, most - 1e6);
      expect(tighter.recipe).toMatchObject({ activationCheckpointing: true, precision, maxLength: 512 });
      expect(tighter.reasons['precision']?.reason).toContain(`in ${words}`);
      const less = needed({ activationCheckpointing: true, precision });
      expect(less).toBeLessThan(most);
      most = less;
    }

    const tightest = plan({ data: prose }, one, most - 1e6);
    expect(tightest.recipe.maxLength).toBeLessThan(512);
    expect(tightest.reasons['maxLength']?.reason).toContain('memory');

    // What a person set stays as it is.
    const own = { ...one, maxLength: 512, activationCheckpointing: false, precision: 'fp32' };
    expect(plan({ data: prose }, own, again).recipe).toMatchObject(own);
    expect(plan({ data: prose }, own, again).estimate.fits).toBe(false);
  });

  it('says of a run that does not fit what would make it fit, cheapest first, each true', () => {
    const own = { maxLength: 512, activationCheckpointing: false, precision: 'fp32', rank: 16, batchSize: 4 };
    const { estimate } = plan({ data: prose }, own);
    const short = plan({ data: prose }, own, estimate.memoryBytes - 1e6).estimate;
    expect(short.fits).toBe(false);
    expect(short.suggestions[0]).toMatchObject({ set: { activationCheckpointing: true } });
    for (const { set } of short.suggestions.filter((each) => Object.keys(each.set).length > 0))
      expect(plan({ data: prose }, { ...own, ...set }, estimate.memoryBytes - 1e6).estimate.fits).toBe(true);

    const little = plan({ data: prose }, own, 0.6 * GB).estimate.suggestions[0]!;
    expect(Object.keys(little.set).length).toBeGreaterThan(1);
    // Each that is told is one of those that are set.
    const told = ['16 bits', '8 bits', '4 bits'].filter((words) => little.text.includes(words));
    expect(told).toEqual(['4 bits']);
    expect(little.set).toMatchObject({ precision: 'int4' });
    const eight = { ...own, batchSize: 1, activationCheckpointing: true, precision: 'int8' };
    const { memoryBytes } = plan({ data: prose }, eight).estimate;
    expect(plan({ data: prose }, eight, memoryBytes - 1e6).estimate.suggestions[0]).toMatchObject({
      set: { precision: 'fp16' },
    });
    expect(plan({ data: prose }, { ...own, ...little.set }, 0.6 * GB).estimate.fits).toBe(true);
    expect(plan({ data: prose }, own, 0.1 * GB).estimate.suggestions.at(-1)?.text).toContain('smaller model');
  });

  it('rehearses where an instruct model reads text, and nowhere else', () => {
    expect(plan({ data: prose }).recipe.rehearsal).toBe(0.05);
    expect(plan({ data: prose, model: base }).recipe.rehearsal).toBe(0);
    expect(plan({}).recipe.rehearsal).toBe(0);
    expect(plan({ data: prose }).estimate.rehearsalTokens).toBe(Math.round(100_000 / 0.95) - 100_000);
  });

  it('keeps the base exact unless asked; auto takes 8 bits where those are measured to be faster, and names what it settled on', () => {
    const fast = { fp32: 200, int8: 800 };
    expect(plan({ speeds: fast })).toMatchObject({
      recipe: { precision: 'fp32' },
      reasons: { precision: { reason: expect.stringContaining('4.0 times') as unknown } },
    });
    expect(plan({ speeds: fast }, { precision: 'auto' }).recipe.precision).toBe('int8');
    for (const speeds of [null, { fp32: 200, int8: 250 }])
      expect(plan({ speeds }, { precision: 'auto' }).recipe.precision).toBe('fp32');
    expect(plan({ speeds: fast }, { precision: 'auto' }).estimate.memoryBytes).toBeLessThan(
      plan({}).estimate.memoryBytes,
    );
  });

  it('questions what is unusual and takes it all the same', () => {
    const { recipe, questions } = plan({ data: prose }, { epochs: 6, rehearsal: 0.7, rank: 2 });
    expect(recipe).toMatchObject({ epochs: 6, rehearsal: 0.7, rank: 2 });
    expect(questions.map(({ key }) => key)).toEqual(expect.arrayContaining(['epochs', 'rehearsal', 'rank']));
    expect(() => plan({ data: prose }, { rehearsal: 0.95 })).toThrow(
      expect.objectContaining({ code: 'RECIPE_INVALID' }),
    );
  });
});

describe('a guard', () => {
  it('holds where an instruct model reads text with requests mixed in, and not without', () => {
    expect(plan({ data: prose }).guards).toMatchObject([
      { holds: true, measured: expect.stringContaining('5%') as unknown },
    ]);
    expect(plan({ data: prose }, { rehearsal: 0 }).guards).toMatchObject([
      { holds: false, measured: expect.stringContaining('Cheng et al. 2023') as unknown },
    ]);
  });

  it('offers the plain template where a base model learns to answer', () => {
    expect(plan({ model: base }).guards).toMatchObject([
      { holds: true, measured: expect.stringContaining('### Answer') as unknown },
    ]);
    expect(plan({ data: prose, model: base }).guards).toEqual([]);
    expect(plan({}).guards).toEqual([]);
  });
});
