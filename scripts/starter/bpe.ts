/** @file Learns a byte-level BPE vocabulary (Sennrich et al. 2016; bytes as in GPT-2) from texts, as a tokenizer.json. */

/** How GPT-2 cuts a text before pairs are merged. */
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** The characters that byte-level tokenizers write bytes with: printable ones as they are, the others from U+0100 on. */
const BYTES: readonly string[] = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : 256 + next++));
})();

interface Word {
  parts: string[];
  readonly count: number;
}

/** @param size tokens in all, the special ones included, which come first. */
export function learnTokenizer(texts: Iterable<string>, size: number, special: readonly string[]): object {
  const counts = new Map<string, number>();
  for (const text of texts) for (const [word] of text.matchAll(WORDS)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const words: Word[] = [...counts].map(([word, count]) => ({
    parts: [...Buffer.from(word, 'utf8')].map((byte) => BYTES[byte]!),
    count,
  }));
  const vocabulary = [...special, ...BYTES];
  const merges: [string, string][] = [];
  while (vocabulary.length < size) {
    const pair = mostFrequentPair(words);
    if (!pair) break;
    merges.push(pair);
    vocabulary.push(pair.join(''));
    for (const word of words) word.parts = merged(word.parts, pair);
  }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
      merges,
    },
  };
}

/** The first of the most frequent in the order of the words: the same texts give the same merges. */
function mostFrequentPair(words: readonly Word[]): [string, string] | undefined {
  const pairs = new Map<string, { readonly pair: [string, string]; count: number }>();
  for (const { parts, count } of words)
    for (let i = 1; i < parts.length; i++) {
      const pair: [string, string] = [parts[i - 1]!, parts[i]!];
      const key = pair.join(' ');
      const known = pairs.get(key);
      if (known) known.count += count;
      else pairs.set(key, { pair, count });
    }
  let best: { readonly pair: [string, string]; readonly count: number } | undefined;
  for (const each of pairs.values()) if (!best || each.count > best.count) best = each;
  return best && best.count > 1 ? best.pair : undefined;
}

function merged(parts: string[], [left, right]: readonly [string, string]): string[] {
  if (!parts.includes(left)) return parts;
  const result: string[] = [];
  for (let i = 0; i < parts.length; i++)
    if (parts[i] === left && parts[i + 1] === right) {
      result.push(left + right);
      i++;
    } else result.push(parts[i]!);
  return result;
}
