/** @file The tokenizer of a GGUF file as a tokenizer.json object: byte-level BPE with the pre-tokenizer that the file names, or SentencePiece BPE. Ids as llama.cpp gives them. */
import { FettleError } from '../../contract/errors.ts';
import { PRE_TOKENIZERS, type PreTokenizer } from './pretokenizers.ts';
import type { GgufHeader, GgufValue } from './read.ts';

/** Values of `tokenizer.ggml.token_type`. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

/** Ends of turns and texts that some files do not mark as control tokens; llama.cpp takes them for such by their names. */
const CONTROL_NAMES: ReadonlySet<string> = new Set([
  '<|eot_id|>',
  '<|im_end|>',
  '<|end|>',
  '<end_of_turn>',
  '<|endoftext|>',
  '<|end_of_text|>',
  '<|eom_id|>',
  '<EOT>',
  '</s>',
  '<｜end▁of▁sentence｜>',
]);

/** llama.cpp goes by the model's name here (llama-vocab.cpp): no key of the file says that control tokens swallow the white space after them. */
export const NAMED_PHI3 = /phi-?3/i;
/** Of a model of such a name. A file without one of these tokens is one that llama.cpp does not load. */
export const PHI3_SWALLOWS: ReadonlyMap<string, boolean> = new Map([
  ['<unk>', false],
  ['<s>', false],
  ['<|endoftext|>', false],
  ['</s>', true],
]);
/** Whether a control token of such a model does. */
export const swallowsAsPhi3 = (token: string): boolean => PHI3_SWALLOWS.get(token) ?? true;

export interface GgufTokenizer {
  readonly json: unknown;
  /** By id. */
  readonly tokens: readonly string[];
  readonly bosId: number | null;
  readonly eosId: number | null;
  /** Ends of a turn or a message, where the file names them. */
  readonly endIds: readonly number[];
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly ids: Readonly<Record<string, number>>;
}

/**
 * A character added to Unicode after 15.1, which llama.cpp does not know, may be cut from its neighbours otherwise.
 * @throws MODEL_UNSUPPORTED for a kind or pre-tokenizer that is not known, MODEL_INCOMPLETE, FORMAT_INVALID
 */
export function tokenizerJson({ metadata }: GgufHeader): GgufTokenizer {
  const get = (key: string): GgufValue | undefined => metadata.get(`tokenizer.ggml.${key}`);
  const kind = get('model');
  if (kind === undefined) throw missing('model');
  if (kind !== 'gpt2' && kind !== 'llama')
    throw unknown(`the tokenizer ${JSON.stringify(kind)}`, 'gpt2 (byte-level BPE) and llama (SentencePiece)');

  const vocabulary = readVocabulary(get);
  const { tokens, types } = vocabulary;
  const idOf = (name: string, fallback: number | null = null): number | null => {
    const id = get(`${name}_token_id`) ?? fallback;
    return typeof id === 'number' && tokens[id] !== undefined ? id : null;
  };
  const spm = kind === 'llama';
  const [bosId, eosId] = [idOf('bos', spm ? 1 : null), idOf('eos', spm ? 2 : null)];
  const pre = spm ? undefined : preTokenizer(get('pre'));
  const model = pre
    ? byteLevel(vocabulary, merges(get('merges')), pre)
    : sentencePiece(vocabulary, numbers(get('scores'), 'scores', tokens.length), get('add_space_prefix') !== false);
  const phi3 = NAMED_PHI3.test(String(metadata.get('general.name') ?? ''));
  const addBos = get('add_bos_token') ?? (pre ? pre.addBos : true);
  return {
    tokens,
    bosId,
    eosId,
    endIds: [eosId, idOf('eot'), idOf('eom')].filter((id) => id !== null),
    json: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: tokens.flatMap((content, id) => {
        const special = types[id] === CONTROL || types[id] === UNKNOWN;
        const rstrip = phi3 && swallowsAsPhi3(content);
        return special || types[id] === USER_DEFINED
          ? [{ id, content, single_word: false, lstrip: false, rstrip, normalized: false, special }]
          : [];
      }),
      ...model,
      post_processor: addBos === true && bosId !== null ? startsWith(bosId, tokens[bosId]!) : null,
    },
  };
}

function readVocabulary(get: (key: string) => GgufValue | undefined): Vocabulary {
  const tokens = strings(get('tokens'), 'tokens').map((token, id) => token || `[EMPTY_${id}]`);
  const given = numbers(get('token_type'), 'token_type', tokens.length);
  const types = tokens.map((token, id) => (CONTROL_NAMES.has(token) ? CONTROL : (given[id] ?? NORMAL)));
  const ids = Object.fromEntries(tokens.map((token, id) => [token, id]));
  if (tokens.length === 0 || Object.keys(ids).length !== tokens.length) throw invalid('tokens');
  return { tokens, types, ids };
}

const missing = (key: string): FettleError =>
  new FettleError(
    'MODEL_INCOMPLETE',
    `The GGUF file has no tokenizer.ggml.${key}.`,
    'Get a file that brings its tokenizer.',
  );
const invalid = (key: string): FettleError =>
  new FettleError(
    'FORMAT_INVALID',
    `tokenizer.ggml.${key} of the GGUF file does not make sense.`,
    'Get the file again from where it came.',
  );
const unknown = (what: string, supported: string): FettleError =>
  new FettleError(
    'MODEL_UNSUPPORTED',
    `The GGUF file has ${what}, which is not supported.`,
    `Supported: ${supported}.`,
  );

function strings(value: GgufValue | undefined, key: string): readonly string[] {
  if (value === undefined) throw missing(key);
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) throw invalid(key);
  return value;
}

/** One number for each token; none at all where the key is missing. */
function numbers(value: GgufValue | undefined, key: string, count: number): readonly number[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length !== count || !value.every((each) => typeof each === 'number'))
    throw invalid(key);
  return value;
}

/** A half may begin with the blank that separates the two. */
const merges = (value: GgufValue | undefined): [string, string][] =>
  strings(value, 'merges').map((merge) => {
    const blank = merge.indexOf(' ', 1);
    if (blank < 0) throw invalid('merges');
    return [merge.slice(0, blank), merge.slice(blank + 1)];
  });

function preTokenizer(pre: GgufValue | undefined): PreTokenizer {
  const found = PRE_TOKENIZERS.get(String(pre ?? 'default'));
  if (!found) throw unknown(`the pre-tokenizer ${JSON.stringify(pre)}`, [...PRE_TOKENIZERS.keys()].join(', '));
  return found;
}

const bpe = {
  type: 'BPE',
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
};

function byteLevel(
  { ids }: Vocabulary,
  pairs: readonly [string, string][],
  pre: PreTokenizer,
): Record<string, unknown> {
  return byteLevelWith(pre, { ...bpe, vocab: ids, merges: pairs });
}

/** The parts of a tokenizer.json that follow from the pre-tokenizer, around a BPE model. */
export function byteLevelWith(pre: PreTokenizer, model: object): Record<string, unknown> {
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  const splits = pre.patterns.map((Regex) => ({
    type: 'Split',
    pattern: { Regex },
    behavior: 'Isolated',
    invert: false,
  }));
  return {
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...splits, bytes] },
    decoder: bytes,
    model: { ...model, ignore_merges: pre.ignoreMerges },
  };
}

/** As SentencePiece merges: of all neighbours whose union is a token, the one with the highest score first. */
function sentencePiece(
  { tokens, types, ids }: Vocabulary,
  scores: readonly number[],
  prefix: boolean,
): Record<string, unknown> {
  const known = new Map(Object.entries(ids));
  const pairs = tokens
    .flatMap((token, id) => {
      if (types[id] !== NORMAL) return [];
      const letters = Array.from(token);
      return letters.slice(1).flatMap((_, i) => {
        const [left, right] = [letters.slice(0, i + 1).join(''), letters.slice(i + 1).join('')];
        const [a, b] = [known.get(left), known.get(right)];
        return a === undefined || b === undefined ? [] : [{ pair: [left, right], score: scores[id] ?? 0, a, b }];
      });
    })
    .sort((x, y) => y.score - x.score || x.a - y.a || x.b - y.b)
    .map(({ pair }) => pair);
  const unknownId = types.indexOf(UNKNOWN);
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
    model: {
      ...bpe,
      unk_token: unknownId < 0 ? null : tokens[unknownId],
      fuse_unk: true,
      byte_fallback: true,
      vocab: ids,
      merges: pairs,
    },
  };
}

/** Programs that load the exported tokenizer put this token before a text; Fettle's own encode adds none. */
const startsWith = (id: number, token: string): unknown => ({
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [
    { SpecialToken: { id: token, type_id: 0 } },
    { Sequence: { id: 'A', type_id: 0 } },
    { SpecialToken: { id: token, type_id: 1 } },
    { Sequence: { id: 'B', type_id: 1 } },
  ],
  special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
});
