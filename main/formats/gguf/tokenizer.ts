/** @file The tokenizer of a GGUF file as a tokenizer.json object: byte-level BPE with the pre-tokenizer that the file names, or SentencePiece BPE. */
import { FettleError } from '../../contract/errors.ts';
import type { GgufHeader } from './read.ts';

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";
const cased = (digits: string): string =>
  `(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** What llama.cpp splits a text by before it merges, by `tokenizer.ggml.pre`: one pattern after the other; what none matches stays whole. */
const SPLITS: Readonly<Record<string, { readonly patterns: readonly string[]; readonly ignoreMerges?: true }>> = {
  smollm: { patterns: ['\\p{N}', GPT2] },
  'gpt-2': { patterns: [GPT2] },
  'llama-bpe': { patterns: [cased('\\p{N}{1,3}')], ignoreMerges: true },
  llama3: { patterns: [cased('\\p{N}{1,3}')], ignoreMerges: true },
  'llama-v3': { patterns: [cased('\\p{N}{1,3}')], ignoreMerges: true },
  qwen2: { patterns: [cased('\\p{N}')] },
  default: { patterns: ['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2, '\\p{N}+', '[0-9][0-9][0-9]'] },
};

const CONTROL = 3;
const USER_DEFINED = 4;

export interface GgufTokenizer {
  readonly json: unknown;
  readonly tokens: readonly string[];
}

/** @throws MODEL_UNSUPPORTED for a kind or pre-tokenizer that is not known, MODEL_INCOMPLETE, FORMAT_INVALID */
export function tokenizerJson({ metadata }: GgufHeader): GgufTokenizer {
  const kind = metadata.get('tokenizer.ggml.model');
  const tokens = strings('tokenizer.ggml.tokens', true);
  const types = numbers('tokenizer.ggml.token_type');
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const added = tokens.flatMap((content, id) => {
    const type = types[id];
    return type === CONTROL || type === USER_DEFINED
      ? [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: type === CONTROL }]
      : [];
  });
  const parts =
    kind === 'gpt2'
      ? byteLevel(vocab, strings('tokenizer.ggml.merges', true), metadata.get('tokenizer.ggml.pre') ?? 'default')
      : kind === 'llama'
        ? sentencePiece(vocab, tokens, numbers('tokenizer.ggml.scores'), types, metadata.get('tokenizer.ggml.add_space_prefix') !== false)
        : unknown(`the tokenizer ${JSON.stringify(kind)}`, 'gpt2 (byte-level BPE) and llama (SentencePiece)');
  return { tokens, json: { version: '1.0', truncation: null, padding: null, added_tokens: added, ...parts, post_processor: null } };

  function strings(key: string, required: boolean): string[] {
    const value = metadata.get(key);
    if (value === undefined && !required) return [];
    if (!Array.isArray(value) || !value.every((each) => typeof each === 'string'))
      throw new FettleError('MODEL_INCOMPLETE', `The GGUF file has no ${key}.`, 'Get a file that brings its tokenizer.');
    return value as string[];
  }
  function numbers(key: string): number[] {
    const value = metadata.get(key);
    if (value !== undefined && (!Array.isArray(value) || value.length !== tokens.length))
      throw new FettleError('FORMAT_INVALID', `${key} does not fit the tokens of the GGUF file.`, 'Get the file again from where it came.');
    return (value ?? []) as number[];
  }
}

function unknown(what: string, supported: string): never {
  throw new FettleError('MODEL_UNSUPPORTED', `The GGUF file has ${what}, which is not supported.`, `Supported: ${supported}.`);
}

function byteLevel(vocab: Readonly<Record<string, number>>, merges: readonly string[], pre: unknown): Record<string, unknown> {
  const split = typeof pre === 'string' && Object.hasOwn(SPLITS, pre) ? SPLITS[pre] : undefined;
  if (!split) unknown(`the pre-tokenizer ${JSON.stringify(pre)}`, Object.keys(SPLITS).join(', '));
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        ...split.patterns.map((Regex) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false })),
        bytes,
      ],
    },
    decoder: bytes,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: split.ignoreMerges ?? false,
      vocab,
      // A token may begin with the blank that separates the two: the second half is everything after the last one.
      merges: merges.map((merge) => {
        const blank = merge.indexOf(' ', 1);
        return [merge.slice(0, blank), merge.slice(blank + 1)];
      }),
    },
  };
}

const NORMAL = 1;

/** As SentencePiece merges: of all neighbours whose union is a token, the one with the highest score first. */
function sentencePiece(
  vocab: Readonly<Record<string, number>>,
  tokens: readonly string[],
  scores: readonly number[],
  types: readonly number[],
  prefix: boolean,
): Record<string, unknown> {
  const known = new Map(Object.entries(vocab));
  const merges = tokens
    .flatMap((token, id) => {
      if ((types[id] ?? NORMAL) !== NORMAL) return [];
      const letters = Array.from(token);
      return letters.slice(1).flatMap((_, i) => {
        const [left, right] = [letters.slice(0, i + 1).join(''), letters.slice(i + 1).join('')];
        const [a, b] = [known.get(left), known.get(right)];
        return a === undefined || b === undefined ? [] : [{ pair: [left, right], score: scores[id] ?? 0, a, b }];
      });
    })
    .sort((x, y) => y.score - x.score || x.a - y.a || x.b - y.b)
    .map(({ pair }) => pair);
  return {
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(prefix ? [{ type: 'Prepend', prepend: '▁' }] : []),
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: { type: 'BPE', dropout: null, unk_token: tokens[0], continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: true, byte_fallback: true, ignore_merges: false, vocab, merges },
  };
}
