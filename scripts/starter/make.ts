/**
 * @file `npm run make:starter`: trains the bundled starter model from nothing with Fettle's own engine, and writes it to
 * resources/starter. Seeded: the same machine gives the same file. About a quarter of an hour on two cores that have nothing else to do.
 */
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Recipe } from '../../main/contract/recipe.ts';
import { loadBase, Random } from '../../main/engine/index.ts';
import { mergeableOf, mergedWeights } from '../../main/engine/model/merge.ts';
import { chatExample } from '../../main/engine/train/examples.ts';
import { train } from '../../main/engine/train/trainer.ts';
import type { Example } from '../../main/engine/types.ts';
import { chatTemplate } from '../../main/formats/chat-template.ts';
import { writeModelFolder } from '../../main/formats/huggingface/write.ts';
import { openModel } from '../../main/formats/open.ts';
import { writeSafetensors, type TensorToWrite } from '../../main/formats/safetensors.ts';
import { learnTokenizer } from './bpe.ts';
import { World, type Piece, type Turn } from './text.ts';

const { values: options } = parseArgs({
  options: {
    out: { type: 'string' },
    steps: { type: 'string', default: '700' },
    seed: { type: 'string', default: '1' },
  },
});
const resources = resolve(import.meta.dirname, '../../resources');
const out = options.out ?? join(resources, 'starter');
const seed = Number(options.seed);
const steps = Number(options.steps);

const SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
const TEMPLATE =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const SIZES = { vocab: 2048, hidden: 192, layers: 6, heads: 6, kvHeads: 2, ffn: 512, positions: 1024 };
/** Pieces that the generator tells; Fettle's texts to rehearse with come to them, several times over. */
const PIECES = 24_000;
const REHEARSED = 6;
const LENGTH = 256;

/** The texts that an instruct model rehearses: not the sample project's, and not those that forgetting is measured on. */
async function ownPieces(): Promise<Piece[]> {
  const folder = join(resources, 'rehearsal');
  const rows = (await readFile(join(folder, 'instructions.jsonl'), 'utf8')).trim().split('\n');
  const conversations = rows.map((line): Piece => {
    const { instruction, response } = JSON.parse(line) as { instruction: string; response: string };
    const messages: Turn[] = [
      { role: 'user', content: instruction },
      { role: 'assistant', content: response },
    ];
    return { messages };
  });
  const names = (await readdir(join(folder, 'prose'))).sort();
  const prose = await Promise.all(names.map((name) => readFile(join(folder, 'prose', name), 'utf8')));
  return [...conversations, ...prose.flatMap((text) => text.split('\n\n')).map((text): Piece => ({ text }))];
}

const words = (piece: Piece): string =>
  'text' in piece ? piece.text : piece.messages.map(({ content }) => content).join('\n');

function config(): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: SIZES.hidden,
    intermediate_size: SIZES.ffn,
    num_hidden_layers: SIZES.layers,
    num_attention_heads: SIZES.heads,
    num_key_value_heads: SIZES.kvHeads,
    head_dim: SIZES.hidden / SIZES.heads,
    hidden_act: 'silu',
    max_position_embeddings: SIZES.positions,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: true,
    attention_bias: false,
    mlp_bias: false,
    vocab_size: SIZES.vocab,
    bos_token_id: 0,
    eos_token_id: 2,
    torch_dtype: 'float32',
  };
}

/** Normal with a deviation of 0.02, and less where a layer's result is added to what came in (Radford et al. 2019). */
function firstWeights(): TensorToWrite[] {
  const random = new Random(seed);
  const { hidden, layers, heads, kvHeads, ffn, vocab } = SIZES;
  const head = hidden / heads;
  const linear = (name: string, to: number, from: number, share = 1): TensorToWrite => ({
    name: `${name}.weight`,
    shape: [to, from],
    data: Float32Array.from({ length: to * from }, () => 0.02 * share * random.normal()),
  });
  const norm = (name: string): TensorToWrite => ({
    name: `${name}.weight`,
    shape: [hidden],
    data: new Float32Array(hidden).fill(1),
  });
  const share = 1 / Math.sqrt(2 * layers);
  const blocks = Array.from({ length: layers }, (_, i) => {
    const at = `model.layers.${i}`;
    return [
      norm(`${at}.input_layernorm`),
      linear(`${at}.self_attn.q_proj`, heads * head, hidden),
      linear(`${at}.self_attn.k_proj`, kvHeads * head, hidden),
      linear(`${at}.self_attn.v_proj`, kvHeads * head, hidden),
      linear(`${at}.self_attn.o_proj`, hidden, heads * head, share),
      norm(`${at}.post_attention_layernorm`),
      linear(`${at}.mlp.gate_proj`, ffn, hidden),
      linear(`${at}.mlp.up_proj`, ffn, hidden),
      linear(`${at}.mlp.down_proj`, hidden, ffn, share),
    ];
  });
  return [linear('model.embed_tokens', vocab, hidden), ...blocks.flat(), norm('model.norm')];
}

const CARD = `---
license: apache-2.0
---

# The bundled starter

A language model of 2.8 million numbers, trained from nothing by Fettle's own engine (\`npm run make:starter\`) on text that
Fettle's generator and authors wrote. It has learned short English sentences and small tasks of one world; it knows nothing
of yours. It is there for tests, and so that a first run without a network trains something that has learned.
`;

const work = await mkdtemp(join(tmpdir(), 'fettle-make-starter-'));
try {
  const world = new World(seed);
  const own = await ownPieces();
  const pieces = [
    ...Array.from({ length: REHEARSED }, () => own).flat(),
    ...Array.from({ length: PIECES }, () => world.piece()),
  ];
  const unseen = new World(seed + 1);
  const heldOut = Array.from({ length: 100 }, () => unseen.piece());

  console.log('Learning the vocabulary');
  const begun = join(work, 'begun');
  await mkdir(begun, { recursive: true });
  const json = (name: string, value: unknown): Promise<void> =>
    writeFile(join(begun, name), `${JSON.stringify(value, null, 2)}\n`);
  await json('config.json', config());
  await json('tokenizer.json', learnTokenizer(pieces.map(words), SIZES.vocab, SPECIAL));
  await json('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: SPECIAL[0],
    eos_token: SPECIAL[2],
    clean_up_tokenization_spaces: false,
    chat_template: TEMPLATE,
  });
  await writeSafetensors(join(begun, 'model.safetensors'), firstWeights());

  const files = await openModel(begun);
  const template = chatTemplate(TEMPLATE, { bosToken: SPECIAL[0]!, eosToken: SPECIAL[2]! });
  const example = (piece: Piece): Example => {
    if ('messages' in piece) {
      // All tokens are learned, the form of a conversation too.
      const { ids } = chatExample(piece.messages, { tokenizer: files.tokenizer, template });
      return { ids, loss: new Uint8Array(ids.length).fill(1) };
    }
    const ids = Int32Array.from([...files.tokenizer.encode(piece.text), 0]);
    return { ids, loss: new Uint8Array(ids.length).fill(1) };
  };
  const recipe = Recipe.parse({
    strategy: 'non-instruct',
    method: 'full',
    learningRate: 3e-3,
    weightDecay: 0.1,
    beta2: 0.98,
    schedule: 'cosine',
    warmupRatio: 0.05,
    maxSteps: steps,
    batchSize: 16,
    maxLength: LENGTH,
    evalEvery: 100,
    saveEvery: 0,
    seed,
  });
  const base = await loadBase(files.config, files.weights, { threads: 2 });
  const model = base.becomeAllTrained(recipe);
  await train({
    model,
    train: pieces.map(example),
    heldOut: heldOut.map(example),
    recipe,
    runId: 'starter',
    checkpointDir: join(work, 'checkpoints'),
    onEvent: (event) => {
      if (event.type === 'eval') console.log(`step ${event.step}: unseen loss ${event.loss.toFixed(4)}`);
      if (event.type === 'step' && event.step % 50 === 0)
        console.log(
          `step ${event.step}: loss ${event.loss.toFixed(4)}, ${Math.round(event.tokensPerSecond)} tokens a second`,
        );
    },
    control: { requested: () => 'none' },
    clock: () => performance.now(),
    memory: () => process.memoryUsage.rss(),
  });
  await rm(out, { recursive: true, force: true });
  const weights = mergedWeights(mergeableOf(model), files.weights, base.spec);
  await writeModelFolder(out, { ...files, weights }, { dtype: 'f16' });
  await writeFile(join(out, 'README.md'), CARD);
  await base.release();
  await files.close();
} finally {
  await rm(work, { recursive: true, force: true });
}
