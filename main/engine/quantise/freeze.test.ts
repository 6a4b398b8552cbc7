/** @file What a base in halves does with weights that halves cannot hold. */
import { expect, it } from 'vitest';
import { randomWeights, TINY_CONFIGS } from '../../../test/fixtures/tiny-configs.ts';
import { loadBase, type BaseModel } from '../index.ts';

const config = TINY_CONFIGS['llama']!;
const weights = randomWeights(config);
/** @param value of one number of the tensor. */
async function load(name: string, value: number): Promise<BaseModel> {
  const read = async (wanted: string): Promise<Float32Array> => {
    const data = await weights.read(wanted);
    return wanted === name ? data.slice().fill(value, 7, 8) : data;
  };
  return loadBase(config, { ...weights, read }, { threads: 1, lanes: 1, precision: 'fp16' });
}

it.each(['model.embed_tokens.weight', 'model.layers.1.mlp.down_proj.weight', 'lm_head.weight'])(
  'says so where a number of %s is too large for them, or none',
  async (name) => {
    await expect(load(name, -65_520)).rejects.toMatchObject({ code: 'RECIPE_INVALID' });
    await expect(load(name, Number.NaN)).rejects.toMatchObject({ code: 'MODEL_INCOMPLETE' });
  },
);

it('keeps norms as they are', async () => {
  await (await load('model.norm.weight', 1e6)).release();
});
