/** @file transformers.js, where @huggingface/transformers is installed: reads an ONNX folder as another program would. Fettle needs it for nothing else. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { negativeLogLikelihood } from '../engine/export/read.ts';
import type { OtherReader } from './other-reader.ts';

/** Of @huggingface/transformers only what is asked of it: it need not be there to be compiled against. */
interface Tensor {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number | bigint>;
}
interface Tokenizer {
  encode(text: string, options: { readonly add_special_tokens: boolean }): number[];
  apply_chat_template(messages: readonly object[], options: object): string;
}
interface Model {
  (inputs: Readonly<Record<string, Tensor>>): Promise<{ readonly logits: Tensor }>;
  generate(options: object): Promise<Tensor>;
  readonly generation_config: { readonly eos_token_id: number | readonly number[] | null } | null;
  dispose(): Promise<unknown>;
}
interface Module {
  readonly AutoTokenizer: { from_pretrained(folder: string, options: object): Promise<Tokenizer> };
  readonly AutoModelForCausalLM: { from_pretrained(folder: string, options: object): Promise<Model> };
  readonly Tensor: new (type: string, data: BigInt64Array, dims: readonly number[]) => Tensor;
}

/** FETTLE_TRANSFORMERS_JS names a folder whose node_modules holds it; otherwise it is looked for beside Fettle. */
async function load(): Promise<Module | null> {
  const folder = process.env.FETTLE_TRANSFORMERS_JS;
  const path = folder && join(folder, 'node_modules/@huggingface/transformers/dist/transformers.node.mjs');
  if (path && existsSync(path)) return (await import(pathToFileURL(path).href)) as Module;
  // The name in a variable: it is optional, and nothing may insist on it.
  const name = '@huggingface/transformers';
  return import(name).then(
    (module) => module as Module,
    () => null,
  );
}

/**
 * The folder as its own configs say that it is to be loaded: no file and no type is named here.
 * Null where transformers.js is not installed. @throws what it says of a folder that it cannot load.
 */
export async function openWithTransformersJs(
  folder: string,
  { threads }: { readonly threads: number },
): Promise<OtherReader | null> {
  const module = await load();
  if (!module) return null;
  const local = { local_files_only: true };
  const tokenizer = await module.AutoTokenizer.from_pretrained(folder, local);
  const model = await module.AutoModelForCausalLM.from_pretrained(folder, {
    ...local,
    device: 'cpu',
    session_options: { intraOpNumThreads: threads },
  });
  const integers = (ids: readonly number[]): Tensor =>
    new module.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]);
  const inputs = (ids: readonly number[]): { input_ids: Tensor; attention_mask: Tensor } => ({
    input_ids: integers(ids),
    attention_mask: integers(ids.map(() => 1)),
  });
  const stops = [model.generation_config?.eos_token_id ?? []].flat();
  return {
    name: 'transformers.js',
    tokenize: (text) => tokenizer.encode(text, { add_special_tokens: false }),
    ends: (id) => stops.includes(id),
    render: (messages) => tokenizer.apply_chat_template(messages, { tokenize: false, add_generation_prompt: true }),
    async goOn(prompt, tokens) {
      const options = { max_new_tokens: tokens, do_sample: false, eos_token_id: null };
      const { data } = await model.generate({ ...inputs(prompt), ...options });
      return Array.from(data, Number).slice(prompt.length);
    },
    async loss({ ids, loss }) {
      const { logits } = await model(inputs([...ids]));
      const vocab = logits.dims[2]!;
      const data = logits.data as Float32Array;
      let sum = 0;
      for (let i = 1; i < ids.length; i++)
        if (loss[i]) sum += negativeLogLikelihood(data.subarray((i - 1) * vocab, i * vocab), ids[i]!);
      return sum;
    },
    async close() {
      await model.dispose();
    },
  };
}
