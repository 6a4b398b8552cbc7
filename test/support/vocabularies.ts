/** @file Made-up vocabularies in GGUF files without weights, built so that ids betray where a tokenizer cut the text. */
import { ggufBytes, type Value } from './gguf.ts';

/** The 256 characters that stand for bytes in byte-level BPE (GPT-2's table). */
const BYTES: readonly string[] = (() => {
  let others = 256;
  const printed = (byte: number): boolean => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printed(byte) ? byte : others++));
})();

/** What llama.cpp wants to see of a model before it reads its vocabulary. */
const MODEL: readonly (readonly [string, Value])[] = [
  ['general.architecture', ['string', 'llama']],
  ['llama.context_length', ['uint32', 64]],
  ['llama.embedding_length', ['uint32', 64]],
  ['llama.block_count', ['uint32', 1]],
  ['llama.feed_forward_length', ['uint32', 64]],
  ['llama.attention.head_count', ['uint32', 1]],
  ['llama.attention.layer_norm_rms_epsilon', ['float32', 1e-5]],
];

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const BYTE = 6;

/** Shuffles in place, the same way every time. */
function shuffled<T>(list: T[]): T[] {
  let state = 1;
  for (let i = list.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}

/** Byte-level BPE in which a third of all pairs of bytes merge, in an order of its own: cut elsewhere, most texts give other ids. */
export function byteLevelVocabulary(
  pre: string,
  { name = 'Made up', control = [] }: { readonly name?: string; readonly control?: readonly string[] } = {},
): Buffer {
  const merges = shuffled(BYTES.flatMap((a) => BYTES.map((b) => `${a} ${b}`))).slice(0, 20_000);
  // Words that no merges lead to: only a tokenizer that looks for whole words finds them.
  const words = ['Ġthe', 'Ġand', 'Hello', 'Ġworld', '!!!!'];
  const pairs = merges.map((merge) => merge.replace(' ', ''));
  const controls = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', ...control];
  const tokens = [...controls, ...BYTES, ...pairs, ...words];
  return ggufBytes({
    metadata: [
      ...MODEL,
      ['general.name', ['string', name]],
      ['tokenizer.ggml.model', ['string', 'gpt2']],
      ['tokenizer.ggml.pre', ['string', pre]],
      ['tokenizer.ggml.tokens', ['array', 'string', tokens]],
      [
        'tokenizer.ggml.token_type',
        ['array', 'int32', tokens.map((_, id) => (id < controls.length ? CONTROL : NORMAL))],
      ],
      ['tokenizer.ggml.merges', ['array', 'string', merges]],
      ['tokenizer.ggml.bos_token_id', ['uint32', 0]],
      ['tokenizer.ggml.eos_token_id', ['uint32', 2]],
    ],
  });
}

/** SentencePiece BPE over the pieces of some texts: up to `longest` characters each, with scores of their own. */
export function sentencePieceVocabulary(texts: readonly string[], addSpacePrefix: boolean, longest = 5): Buffer {
  const pieces = new Set<string>();
  for (const text of texts) {
    // llama.cpp reads a token up to its first NUL.
    const letters = Array.from(`▁${text.toWellFormed().replaceAll(' ', '▁').replaceAll('\0', '')}`).slice(0, 200);
    for (let i = 0; i < letters.length; i++)
      for (let length = 1; length <= longest && i + length <= letters.length; length++) {
        const piece = letters.slice(i, i + length).join('');
        if (length > 1 && (pieces.size * 7 + i) % 5 > 1) continue;
        // As a trained vocabulary has it: what a piece is made of is a piece too; a third of the characters have none.
        if ([...piece].every((letter) => letter.codePointAt(0)! % 3 > 0))
          for (const part of [piece, ...piece]) pieces.add(part);
      }
  }
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const first = ['<unk>', '<s>', '</s>', ...bytes];
  const tokens = [...new Set([...first, ...shuffled([...pieces])])];
  return ggufBytes({
    metadata: [
      ...MODEL,
      ['tokenizer.ggml.model', ['string', 'llama']],
      ['tokenizer.ggml.tokens', ['array', 'string', tokens]],
      ['tokenizer.ggml.scores', ['array', 'float32', tokens.map((_, id) => (id < 259 ? 0 : -id))]],
      [
        'tokenizer.ggml.token_type',
        ['array', 'int32', tokens.map((_, id) => (id === 0 ? UNKNOWN : id < 3 ? CONTROL : id < 259 ? BYTE : NORMAL))],
      ],
      ['tokenizer.ggml.bos_token_id', ['uint32', 1]],
      ['tokenizer.ggml.eos_token_id', ['uint32', 2]],
      ['tokenizer.ggml.unknown_token_id', ['uint32', 0]],
      ['tokenizer.ggml.add_space_prefix', ['bool', addSpacePrefix]],
    ],
  });
}
