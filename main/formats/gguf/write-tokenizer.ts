/** @file A tokenizer.json as GGUF metadata, the way back of tokenizer.ts. The pre-tokenizer's name is found by what the tokenizer does. */
import { z } from 'zod';
import { FettleError } from '../../contract/errors.ts';
import type { ChatTemplate, ModelFiles, Tokenizer } from '../model.ts';
import { CONVERSATIONS } from '../ollama.ts';
import { tokenizerFromJson } from '../tokenizer.ts';
import { PRE_TOKENIZERS, type PreTokenizer } from './pretokenizers.ts';
import { byteLevelWith, NAMED_PHI3, PHI3_SWALLOWS, swallowsAsPhi3 } from './tokenizer.ts';
import type { Metadata } from './write.ts';

const Json = z.looseObject({
  added_tokens: z
    .array(
      z.looseObject({
        id: z.int().min(0),
        content: z.string(),
        special: z.boolean().default(false),
        lstrip: z.boolean().default(false),
        rstrip: z.boolean().default(false),
      }),
    )
    .default([]),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  post_processor: z.unknown(),
  model: z.looseObject({
    type: z.string().default('BPE'),
    vocab: z.record(z.string(), z.int().min(0)),
    merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
    byte_fallback: z.boolean().default(false),
    unk_token: z.string().nullish(),
  }),
});
type Json = z.infer<typeof Json>;

/** Values of `tokenizer.ggml.token_type`. */
const TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

const refuse = (why: string): FettleError =>
  new FettleError(
    'EXPORT_UNSUPPORTED',
    `This tokenizer cannot be put into a GGUF file: ${why}.`,
    'Export as safetensors or as an adapter.',
  );

/**
 * @param rows of the embedding: as many tokens are named, since llama.cpp counts them.
 * @param name of the model: what llama.cpp takes from it about the tokenizer must be so.
 * @throws EXPORT_UNSUPPORTED for a tokenizer that is neither byte-level nor SentencePiece BPE, or that cuts text as no
 * pre-tokenizer of llama.cpp does.
 */
export function tokenizerMetadata(
  { tokenizer, stopIds, chatTemplate }: Pick<ModelFiles, 'tokenizer' | 'stopIds' | 'chatTemplate'>,
  rows: number,
  name: string,
): Metadata {
  const parsed = Json.safeParse(tokenizer.toJson());
  if (!parsed.success || parsed.data.model.type !== 'BPE') throw refuse('it is no BPE tokenizer');
  const json = parsed.data;
  const spm = json.model.byte_fallback;
  if (!spm && !JSON.stringify(json.pre_tokenizer ?? null).includes('"ByteLevel"'))
    throw refuse('it is neither byte-level nor SentencePiece BPE');
  const { tokens, types } = vocabulary(json, rows);
  const merges = json.model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')));
  const eos = tokenizer.eosId ?? stopIds[0];
  // The format names three ends of an answer.
  const [turnEnd, messageEnd] = stopIds.filter((id) => id !== eos);
  const optional = (key: string, id: number | null | undefined): Metadata =>
    id === null || id === undefined ? [] : [[`tokenizer.ggml.${key}_token_id`, ['uint32', id]]];
  return [
    ['general.name', ['string', nameFor(name, json, { tokenizer, chatTemplate })]],
    ['tokenizer.ggml.model', ['string', spm ? 'llama' : 'gpt2']],
    ...(spm ? [] : ([['tokenizer.ggml.pre', ['string', preTokenizerOf(json)]]] as const)),
    ['tokenizer.ggml.tokens', ['array', 'string', tokens]],
    ['tokenizer.ggml.token_type', ['array', 'int32', types]],
    ...(spm
      ? ([
          ['tokenizer.ggml.scores', ['array', 'float32', scores(tokens, merges)]],
          ['tokenizer.ggml.add_space_prefix', ['bool', JSON.stringify(json.normalizer ?? null).includes('"Prepend"')]],
        ] as const)
      : ([['tokenizer.ggml.merges', ['array', 'string', merges]]] as const)),
    ...optional('bos', tokenizer.bosId),
    ...optional('eos', eos),
    ...optional('eot', turnEnd),
    ...optional('eom', messageEnd),
    ...optional('unknown', json.model.unk_token ? json.model.vocab[json.model.unk_token] : null),
    [
      'tokenizer.ggml.add_bos_token',
      ['bool', tokenizer.bosId !== null && tokenizer.startIds.includes(tokenizer.bosId)],
    ],
    ['tokenizer.ggml.add_eos_token', ['bool', false]],
    ...(chatTemplate ? ([['tokenizer.chat_template', ['string', chatTemplate.source]]] as const) : []),
  ];
}

/** The name, changed where llama.cpp would take from it that control tokens swallow the white space after them, or must. @throws EXPORT_UNSUPPORTED */
function nameFor(
  name: string,
  json: Json,
  { tokenizer, chatTemplate }: Pick<ModelFiles, 'tokenizer' | 'chatTemplate'>,
): string {
  const { added_tokens: added } = json;
  const swallowing = added.filter(({ lstrip, rstrip }) => lstrip || rstrip);
  if (swallowing.length > 0) {
    const asPhi3 = added.every(({ content, lstrip, rstrip }) => !lstrip && rstrip === swallowsAsPhi3(content));
    const known = new Set([...Object.keys(json.model.vocab), ...added.map(({ content }) => content)]);
    if (asPhi3 && [...PHI3_SWALLOWS.keys()].every((token) => known.has(token)))
      return NAMED_PHI3.test(name) ? name : `${name} (Phi-3)`;
    const plain = tokenizerFromJson({
      ...json,
      added_tokens: added.map((token) => ({ ...token, lstrip: false, rstrip: false })),
    });
    const cut = (by: Tokenizer, text: string): string => by.encode(text, { parseSpecial: true }).join(' ');
    if (formsOf(chatTemplate).some((text) => cut(tokenizer, text) !== cut(plain, text)))
      throw refuse(
        `its tokens ${swallowing.map(({ content }) => content).join(', ')} swallow the white space beside them, which the format cannot say`,
      );
  }
  return name.replaceAll(new RegExp(NAMED_PHI3, 'gi'), 'Phi 3');
}

/** Conversations as the template writes them; it may refuse some. */
const formsOf = (template: ChatTemplate | null): string[] =>
  CONVERSATIONS.flatMap((messages) => {
    try {
      return template?.render(messages, { addGenerationPrompt: true }) ?? [];
    } catch {
      return [];
    }
  });

function vocabulary({ model, added_tokens: added }: Json, rows: number): { tokens: string[]; types: number[] } {
  // Ids that no token has are padding of the embedding.
  const tokens = Array.from({ length: rows }, (_, id) => `[PAD${id}]`);
  const types = tokens.map((): number => TYPE.unused);
  const put = (id: number, token: string, type: number): void => {
    if (id >= rows) throw refuse(`it has a token ${id}, and the embedding ${rows} rows`);
    tokens[id] = token;
    types[id] = type;
  };
  for (const [token, id] of Object.entries(model.vocab))
    put(id, token, model.byte_fallback && /^<0x[0-9A-F]{2}>$/.test(token) ? TYPE.byte : TYPE.normal);
  for (const { id, content, special } of added) put(id, content, special ? TYPE.control : TYPE.userDefined);
  const unknown = model.unk_token ? model.vocab[model.unk_token] : undefined;
  if (unknown !== undefined) types[unknown] = TYPE.unknown;
  return { tokens, types };
}

/** llama.cpp merges the pair whose union scores highest; the earlier a merge stands, the higher. */
function scores(tokens: readonly string[], merges: readonly string[]): number[] {
  const ranks = new Map<string, number>();
  for (const [rank, merge] of merges.entries()) {
    const union = merge.replace(' ', '');
    if (!ranks.has(union)) ranks.set(union, rank);
  }
  return tokens.map((token) => -(ranks.get(token) ?? merges.length));
}

/** Where pre-tokenizers differ: contractions, digits in groups of one and three, blanks and line ends, signs, scripts. */
const PROBES = [
  "It's what they'd SAID: WE'VE won, you'LL see.",
  '0 12 123 1234 12345678 3.14 1,000 x1y22z333',
  'a  b   c\n\n d\r\n\te \n f   ',
  '!!?? (a+b)*c == d && e||f; snake_case, kebab-case "quoted" don’t',
  'Grüße, Καλημέρα κόσμε, Привет мир! 你好，世界 123 こんにちは',
  'camelCase PascalCase HTTPServer iOS x²y³ ½',
  'naïve café — … 🙂👍🏽 end\n',
  '/path/to/file.ts?x=1&y=2#z\n//comment',
];

/** Tokens that llama.cpp takes for the end of an answer by their text, whatever the file names (llama-vocab.cpp). */
const KNOWN_ENDS = new Set([
  ...['<|eot_id|>', '<|eom_id|>', '<|im_end|>', '<|end|>', '<|return|>', '<|call|>', '<end_of_turn>', '<|endoftext|>'],
  ...['<|end_of_text|>', '<EOT>', '_<EOT>', '[EOT]', '[EOS]', '<end_of_utterance>'],
]);
export const endsByItsText = (token: string): boolean => KNOWN_ENDS.has(token);

/** @throws EXPORT_UNSUPPORTED where none cuts the probes as the tokenizer itself does. */
function preTokenizerOf(json: Json): string {
  const wanted = encodings(json);
  const kinds = new Map<PreTokenizer, string>();
  for (const [name, kind] of PRE_TOKENIZERS) if (!kinds.has(kind)) kinds.set(kind, name);
  const own = JSON.stringify(json.pre_tokenizer);
  // The patterns of the file that it came from, where it came from one: no need to try the others first.
  const likely = [...kinds].sort(([a], [b]) => Number(holds(own, b)) - Number(holds(own, a)));
  for (const [kind, name] of likely)
    if (encodings({ ...json, ...byteLevelWith(kind, json.model) }).every((ids, i) => ids === wanted[i])) return name;
  throw refuse('it cuts text as no pre-tokenizer of llama.cpp does');
}

const holds = (own: string, { patterns }: PreTokenizer): boolean =>
  patterns.every((pattern) => own.includes(JSON.stringify(pattern)));

function encodings(json: unknown): string[] {
  const tokenizer = tokenizerFromJson(json);
  return PROBES.map((probe) => tokenizer.encode(probe).join(' '));
}
