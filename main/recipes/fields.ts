/** @file What each setting of a recipe may be, read from its schema: to turn words into values and to say what is allowed. */
import { z } from 'zod';
import { FettleError } from '../contract/errors.ts';
import { Recipe } from '../contract/recipe.ts';

type Key = keyof typeof Recipe.shape;
export const RECIPE_KEYS = Object.keys(Recipe.shape) as Key[];
const isKey = (key: string): key is Key => Object.hasOwn(Recipe.shape, key);

/** The parts of a JSON schema that a person is told of. */
const Described = z.looseObject({
  type: z.string().optional(),
  enum: z.array(z.unknown()).optional(),
  const: z.unknown().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  exclusiveMinimum: z.number().optional(),
  exclusiveMaximum: z.number().optional(),
});

/** "a whole number from 1 to 512", "one of cosine, linear, constant". */
export function allowed(key: Key): string {
  const schema = Described.parse(z.toJSONSchema(Recipe.shape[key], { io: 'input' }));
  const words = (values: readonly unknown[]): string => values.map(String).join(', ');
  if (schema.const !== undefined) return String(schema.const);
  if (schema.enum) return schema.enum.length === 1 ? words(schema.enum) : `one of ${words(schema.enum)}`;
  if (schema.type === 'boolean') return 'true or false';
  if (key === 'modulesToSave') return 'none, or names of what stands before and after the blocks, such as embed_tokens';
  if (schema.type === 'array') return 'names of the model’s linear layers with commas between, or all-linear';
  if (schema.type === 'number' || schema.type === 'integer') {
    const from =
      schema.exclusiveMinimum !== undefined ? `above ${schema.exclusiveMinimum}` : `from ${schema.minimum ?? 0}`;
    const top = schema.exclusiveMaximum ?? schema.maximum;
    const to =
      top === undefined || top >= Number.MAX_SAFE_INTEGER
        ? ''
        : schema.exclusiveMaximum !== undefined
          ? ` and below ${top}`
          : schema.exclusiveMinimum !== undefined
            ? ` and at most ${top}`
            : ` to ${top}`;
    return `a ${schema.type === 'integer' ? 'whole ' : ''}number ${from}${to}`;
  }
  return 'text';
}

/** A value as given, or as the command's words mean it: "1e-4", "true", "q_proj,v_proj". */
function readings(value: unknown): unknown[] {
  if (typeof value !== 'string') return [value];
  const text = value.trim();
  const list: unknown[] = [value];
  if (text !== '' && Number.isFinite(Number(text))) list.push(Number(text));
  if (text === 'true' || text === 'false') list.push(text === 'true');
  list.push(text === 'none' ? [] : text.split(',').map((part) => part.trim()));
  return list;
}

/**
 * Checks values over a recipe one by one.
 * @throws RECIPE_INVALID naming the key, what is allowed, and for an unknown key the nearest one.
 */
export function readOverrides(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const read: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(values)) {
    if (!isKey(key)) {
      const near = nearest(key);
      throw new FettleError(
        'RECIPE_INVALID',
        `A recipe has no setting named ${JSON.stringify(key)}.`,
        `${near ? `Did you mean ${near}? ` : ''}The settings are: ${RECIPE_KEYS.join(', ')}.`,
        { details: { key, nearest: near, keys: RECIPE_KEYS } },
      );
    }
    if (value === undefined) continue;
    // An optional setting is taken away again by `none`.
    if ((value === null || value === 'none') && Recipe.shape[key] instanceof z.ZodOptional) {
      read[key] = undefined;
      continue;
    }
    const fits = readings(value)
      .map((reading) => Recipe.shape[key].safeParse(reading))
      .find((result) => result.success);
    if (!fits)
      throw new FettleError(
        'RECIPE_INVALID',
        `${key} cannot be ${JSON.stringify(value)}.`,
        `${key} takes ${allowed(key)}.`,
        { details: { key, value, allowed: allowed(key) } },
      );
    read[key] = fits.data;
  }
  return read;
}

/** The known key with the fewest edits (Levenshtein), letter case aside, where that is few enough to be a slip. */
function nearest(key: string): string | null {
  const scored = RECIPE_KEYS.map((known) => ({ known, edits: distance(key.toLowerCase(), known.toLowerCase()) })).sort(
    (a, b) => a.edits - b.edits,
  );
  const best = scored[0];
  const alias = ALIASES[key.toLowerCase().replace(/[^a-z]/g, '')];
  if (alias) return alias;
  return best && best.edits <= Math.max(2, Math.floor(key.length / 3)) ? best.known : null;
}

/** What the same settings are called elsewhere (PEFT, TRL, transformers), without hyphens and underscores. */
const ALIASES: Readonly<Record<string, Key>> = {
  lr: 'learningRate',
  r: 'rank',
  lorar: 'rank',
  loraalpha: 'alpha',
  steps: 'maxSteps',
  maxseqlength: 'maxLength',
  sequencelength: 'maxLength',
  numtrainepochs: 'epochs',
  perdevicetrainbatchsize: 'batchSize',
  gradientaccumulationsteps: 'gradientAccumulation',
  lrschedulertype: 'schedule',
  evalsteps: 'evalEvery',
  savesteps: 'saveEvery',
  patience: 'earlyStopping',
};

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min((next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    row = next;
  }
  return row[b.length] ?? 0;
}
