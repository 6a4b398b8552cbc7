/** @file A tokenizer from a tokenizer.json object, with people's text kept apart from the model's control tokens. */
import { Tokenizer as Fast } from '@huggingface/tokenizers';
import { z } from 'zod';
import { FettleError } from '../contract/errors.ts';
import type { Tokenizer } from './model.ts';

/** What is read of tokenizer.json; the rest is the library's. */
const AddedToken = z.looseObject({
  id: z.int().min(0),
  content: z.string().min(1),
  special: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
});
const Json = z.looseObject({
  added_tokens: z.array(AddedToken).default([]),
  post_processor: z.unknown(),
  model: z.looseObject({
    type: z.string().default('BPE'),
    vocab: z.union([z.record(z.string(), z.int()), z.array(z.unknown())]),
  }),
});

const KINDS = ['BPE', 'Unigram', 'WordPiece'];

export interface TokenizerOptions {
  readonly bosToken?: string | null | undefined;
  readonly eosToken?: string | null | undefined;
}

/**
 * Ids as Hugging Face's fast tokenizers give them. Special tokens that stand in a text are literal text, unless
 * `parseSpecial` is asked for: a second tokenizer that does not know them reads it, so no text can produce one.
 * @throws FORMAT_INVALID
 */
export function tokenizerFromJson(json: unknown, { bosToken, eosToken }: TokenizerOptions = {}): Tokenizer {
  const parsed = Json.safeParse(json);
  if (!parsed.success)
    throw new FettleError(
      'FORMAT_INVALID',
      `The tokenizer cannot be read: ${z.prettifyError(parsed.error)}`,
      'Get tokenizer.json again.',
    );
  const { added_tokens: added, model } = parsed.data;
  if (!KINDS.includes(model.type)) throw unsupported(`its kind is ${model.type}`);
  const control = added.filter((token) => token.special);
  const special = new Map(control.map(({ id, content }) => [id, content]));
  const swallowing = new Map(
    control
      .filter(({ lstrip, rstrip }) => lstrip || rstrip)
      .map(({ id, lstrip, rstrip }) => [id, { before: lstrip, after: rstrip }]),
  );
  const knowing = build(json);
  /** Made at its first use: it takes as long as the other. */
  let literal: Fast | undefined;
  const unknowing = (): Fast =>
    (literal ??=
      special.size === 0 ? knowing : build({ ...parsed.data, added_tokens: added.filter((token) => !token.special) }));

  const vocabulary = Array.isArray(model.vocab) ? model.vocab.length : Object.keys(model.vocab).length;
  const vocabSize = Math.max(vocabulary, ...added.map(({ id }) => id + 1));
  const idOf = (token: string | null | undefined): number | null =>
    token ? (knowing.token_to_id(token) ?? null) : null;
  const decode = (ids: readonly number[], skipSpecial: boolean): string => {
    const known = ids.filter((id) => knowing.id_to_token(id) !== undefined && !(skipSpecial && special.has(id)));
    return known.length === 0
      ? ''
      : knowing.decode([...known], { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  };
  return {
    vocabSize,
    bosId: idOf(bosToken),
    eosId: idOf(eosToken),
    startIds: startIds(parsed.data.post_processor, (token) => idOf(token)),
    special,
    swallowing,
    encode(text, { parseSpecial = false } = {}) {
      // Half a surrogate pair is no character; as UTF-8 it would be the replacement character.
      const whole = text.toWellFormed();
      if (whole === '') return [];
      return (parseSpecial ? knowing : unknowing())
        .encode(whole, { add_special_tokens: false })
        .ids.filter((id: number | undefined) => id !== undefined);
    },
    decode: (ids, { skipSpecial = false } = {}) => decode(ids, skipSpecial),
    piece: (id) => special.get(id) ?? decode([id], false),
    toJson: () => json,
  };
}

const Part = z.looseObject({ SpecialToken: z.looseObject({ id: z.string() }).optional() });
const Template = z.looseObject({ type: z.literal('TemplateProcessing'), single: z.array(Part) });
const Several = z.looseObject({ type: z.literal('Sequence'), processors: z.array(z.unknown()) });

/** Of the special tokens in a post-processor's template, those before the text. */
function startIds(processor: unknown, idOf: (token: string) => number | null): number[] {
  const own = Template.safeParse(processor).data;
  if (!own) return (Several.safeParse(processor).data?.processors ?? []).flatMap((each) => startIds(each, idOf));
  const text = own.single.findIndex((part) => part.SpecialToken === undefined);
  return own.single.slice(0, Math.max(0, text)).flatMap((part) => idOf(part.SpecialToken?.id ?? '') ?? []);
}

function build(json: unknown): Fast {
  try {
    return new Fast(json as object, {});
  } catch (error) {
    throw unsupported(error instanceof Error ? error.message : String(error), error);
  }
}

const unsupported = (why: string, cause?: unknown): FettleError =>
  new FettleError(
    'MODEL_UNSUPPORTED',
    `The tokenizer cannot be used: ${why}.`,
    'Models with a byte-level or SentencePiece BPE tokenizer are supported.',
    { cause },
  );
