/** @file A Hugging Face folder, opened: config.json, weights in safetensors (sharded or not), tokenizer.json, chat template. */
import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { FettleError } from '../../contract/errors.ts';
import { chatTemplate } from '../chat-template.ts';
import { kindOf, turnEndIds } from '../kind.ts';
import type { HfConfig, ModelFiles, TextFiles, WeightSource } from '../model.ts';
import { openSafetensors, type SafetensorsFile } from '../safetensors.ts';
import { tokenizerFromJson } from '../tokenizer.ts';

const MOST_JSON_BYTES = 200_000_000;
const TokenName = z
  .union([z.string(), z.looseObject({ content: z.string() }).transform((token) => token.content)])
  .nullish();
const TokenizerConfig = z.looseObject({
  bos_token: TokenName,
  eos_token: TokenName,
  chat_template: z
    .union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))])
    .nullish()
    .transform((given) =>
      Array.isArray(given) ? (given.find(({ name }) => name === 'default') ?? given[0])?.template : given,
    ),
});
const Ids = z.union([z.int().min(0), z.array(z.int().min(0))]).nullish();

/**
 * How a folder says that text is cut, framed and ended. An adapter's has no config.json, and its stops are then those of
 * the tokenizer and the template alone. @throws MODEL_INCOMPLETE, FORMAT_INVALID
 */
export async function readTextFiles(folder: string): Promise<TextFiles> {
  const config = await readJson(folder, 'config.json', false);
  const generation = await readJson(folder, 'generation_config.json', false);
  const tokenizerConfig = TokenizerConfig.parse((await readJson(folder, 'tokenizer_config.json', false)) ?? {});
  const { bos_token: bosToken = null, eos_token: eosToken = null } = tokenizerConfig;
  const tokenizer = tokenizerFromJson(await readJson(folder, 'tokenizer.json', true), { bosToken, eosToken });
  const source = existsSync(join(folder, 'chat_template.jinja'))
    ? await readText(folder, 'chat_template.jinja')
    : (tokenizerConfig.chat_template ?? null);
  const ids = [generation, config].flatMap((file) => Ids.safeParse(file?.['eos_token_id']).data ?? []);
  const stopIds = [
    ...new Set([
      ...ids,
      ...(tokenizer.eosId === null ? [] : [tokenizer.eosId]),
      ...turnEndIds(source, tokenizer.special),
    ]),
  ];
  return { tokenizer, chatTemplate: source === null ? null : chatTemplate(source, { bosToken, eosToken }), stopIds };
}

/** @throws FILE_NOT_FOUND, MODEL_INCOMPLETE, FORMAT_INVALID and what reading the weights' headers throws. */
export async function openHuggingFace(folder: string): Promise<ModelFiles> {
  const config = (await readJson(folder, 'config.json', true)) as HfConfig;
  const text = await readTextFiles(folder);
  const { tokenizer, stopIds } = text;
  const source = text.chatTemplate?.source ?? null;
  const card = existsSync(join(folder, 'README.md')) ? frontMatter(await readText(folder, 'README.md')) : {};
  const stated = config['_name_or_path'];
  const name = (typeof stated === 'string' && stated.split('/').at(-1)) || basename(folder);
  const weights = wholeNames(await openWeights(folder), config);
  return {
    format: 'huggingface',
    config,
    weights,
    ...text,
    license: card['license'] ?? null,
    name,
    bytes: weights.bytes,
    kind: kindOf({ name, template: source, stopTokens: stopIds.map((id) => tokenizer.special.get(id) ?? '') }),
    close: () => weights.close(),
  };
}

type Weights = WeightSource & { readonly bytes: number; close(): Promise<void> };

/** What training left in the files and no program reads: masks and tables that are computed. */
const LEFT_OVER = /\.(attn\.(masked_)?bias|rotary_emb\.inv_freq)$/;

/** Names as the whole model has them: some files (GPT-2's own among them) hold the model without what its head adds to them. */
function wholeNames(weights: Weights, config: HfConfig): Weights {
  const prefix = config['model_type'] === 'gpt2' ? 'transformer.' : 'model.';
  const names = weights.names.filter((name) => !LEFT_OVER.test(name));
  if (names.some((name) => name.startsWith(prefix))) return { ...weights, names };
  const stored = new Map(names.map((name) => [name.startsWith('lm_head.') ? name : prefix + name, name]));
  const own = (name: string): string => stored.get(name) ?? name;
  return {
    ...weights,
    names: [...stored.keys()],
    info: (name) => weights.info(own(name)),
    read: (name) => weights.read(own(name)),
  };
}

async function openWeights(folder: string): Promise<Weights> {
  const files = await weightFiles(folder);
  const opened: SafetensorsFile[] = [];
  const close = async (): Promise<void> => void (await Promise.all(opened.map((file) => file.close())));
  try {
    for (const file of files) opened.push(await openSafetensors(join(folder, file)));
    const owners = new Map<string, SafetensorsFile>();
    for (const file of opened)
      for (const name of file.names) {
        if (owners.has(name))
          throw new FettleError('FORMAT_INVALID', `${name} stands in two of the weight files.`, 'Get the model again.');
        owners.set(name, file);
      }
    const owner = (name: string): SafetensorsFile => {
      const found = owners.get(name);
      if (!found)
        throw new FettleError('MODEL_INCOMPLETE', `The model has no tensor ${name}.`, 'Get the complete model.');
      return found;
    };
    return {
      names: [...owners.keys()],
      info: (name) => owner(name).info(name),
      read: (name) => owner(name).read(name),
      bytes: opened.reduce((sum, file) => sum + file.bytes, 0),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function weightFiles(folder: string): Promise<string[]> {
  if (existsSync(join(folder, 'model.safetensors'))) return ['model.safetensors'];
  const index = await readJson(folder, 'model.safetensors.index.json', false);
  if (index) {
    const map = z.record(z.string(), z.string()).safeParse(index['weight_map']);
    if (!map.success)
      throw new FettleError(
        'FORMAT_INVALID',
        'model.safetensors.index.json has no weight_map.',
        'Get the model again.',
      );
    const files = [...new Set(Object.values(map.data))];
    for (const file of files) {
      // A name with a path in it would lead out of the folder.
      if (!/^[\w.-]+\.safetensors$/.test(file))
        throw new FettleError(
          'FORMAT_INVALID',
          `The index names a file outside the folder: ${file}.`,
          'Get the model again.',
        );
      if (!existsSync(join(folder, file)))
        throw new FettleError('MODEL_INCOMPLETE', `The weight file ${file} is missing.`, 'Get the complete model.');
    }
    return files;
  }
  const pickles = (await readdir(folder)).filter((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  throw new FettleError(
    'MODEL_INCOMPLETE',
    pickles.length > 0
      ? `The weights are in ${pickles[0]}, a format that can run any program when it is opened; Fettle does not.`
      : `There is no model.safetensors in ${folder}.`,
    'Get the model with safetensors weights.',
  );
}

async function readText(folder: string, name: string): Promise<string> {
  const { size } = await stat(join(folder, name));
  if (size > MOST_JSON_BYTES)
    throw new FettleError('FORMAT_INVALID', `${name} has ${size} bytes, more than any such file needs.`);
  return readFile(join(folder, name), 'utf8');
}

async function readJson(folder: string, name: string, required: boolean): Promise<Record<string, unknown> | null> {
  if (!existsSync(join(folder, name))) {
    if (required)
      throw new FettleError(
        'MODEL_INCOMPLETE',
        `There is no ${name} in ${folder}.`,
        'Give the folder of a complete Hugging Face model.',
      );
    return null;
  }
  const text = await readText(folder, name);
  if (text.trim() === '') throw new FettleError('FILE_EMPTY', `${name} in ${folder} is empty.`, 'Get it again.');
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  } catch (error) {
    throw new FettleError('FORMAT_INVALID', `${name} in ${folder} is not valid JSON.`, 'Get it again.', {
      cause: error,
    });
  }
}

/** Plain `key: value` lines of a model card's front matter. */
function frontMatter(card: string): Record<string, string> {
  const [, block = ''] = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card) ?? [];
  return Object.fromEntries(
    [...block.matchAll(/^(\w+):[ \t]*["']?([^"'\r\n]+?)["']?[ \t]*$/gm)].map(([, key, value]) => [key, value]),
  );
}
