/** @file How byte-level BPE cuts a text before it merges, by the name in `tokenizer.ggml.pre`: the patterns of llama.cpp's llama-vocab.cpp. */

export interface PreTokenizer {
  /** One after the other, each on the pieces that the one before left; what none matches stays whole. */
  readonly patterns: readonly string[];
  /** A piece that is a token is taken whole, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** Where the file does not say whether a text begins with the bos token. */
  readonly addBos: boolean;
}

/** llama.cpp leaves the last alternative out, which changes nothing there; onnxruntime-genai loses words without it. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const lines = (digits: string): string => `${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const cl100k = (digits: string): string => `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${lines(digits)}`;
/** Upper case, then lower case; letters without case count as both. */
const TEKKEN =
  '[^\\r\\n\\p{L}\\p{N}]?((?=[\\p{L}])([^a-z]))*((?=[\\p{L}])([^A-Z]))+|[^\\r\\n\\p{L}\\p{N}]?((?=[\\p{L}])([^a-z]))+((?=[\\p{L}])([^A-Z]))*|' +
  '\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

const plain = { ignoreMerges: false, addBos: false };
const KINDS: readonly (PreTokenizer & { readonly names: readonly string[] })[] = [
  {
    ...plain,
    names: ['smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'exaone', 'minerva-7b'],
    patterns: ['\\p{N}', GPT2],
  },
  {
    ...plain,
    names: ['gpt-2', 'phi-2', 'mpt', 'olmo', 'jais', 'trillion', 'exaone4', 'gigachat', 'mellum'],
    patterns: [GPT2],
  },
  {
    names: ['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'pixtral', 'midm-2.0', 'lfm2'],
    patterns: [cl100k('\\p{N}{1,3}')],
    ignoreMerges: true,
    addBos: true,
  },
  { ...plain, names: ['dbrx', 'smaug-bpe', 'glm4', 'chatglm-bpe'], patterns: [cl100k('\\p{N}{1,3}')] },
  { ...plain, names: ['qwen2', 'deepseek-r1-qwen', 'stablelm2', 'hunyuan', 'megrez'], patterns: [cl100k('\\p{N}')] },
  { names: ['tekken'], patterns: [TEKKEN], ignoreMerges: true, addBos: true },
  { ...plain, names: ['falcon'], patterns: ['[\\p{P}\\$\\+<=>\\^~\\|`]+', GPT2, '[0-9][0-9][0-9]'] },
  { ...plain, names: ['default'], patterns: ['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2, '\\p{N}+', '[0-9][0-9][0-9]'] },
];

export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map(
  KINDS.flatMap((kind) => kind.names.map((name) => [name, kind] as const)),
);
