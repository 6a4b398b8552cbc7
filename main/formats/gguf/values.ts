/** @file Metadata of a GGUF file by key, as numbers of one architecture. */
import { FettleError } from '../../contract/errors.ts';
import type { GgufHeader, GgufValue } from './read.ts';

export interface Values {
  /** Below the architecture's name; undefined where the file does not say. @throws MODEL_UNSUPPORTED */
  number(key: string): number | undefined;
  text(key: string): string | undefined;
  raw(key: string): GgufValue | undefined;
}

export const valuesOf = ({ metadata }: Pick<GgufHeader, 'metadata'>, architecture: string): Values => {
  const raw = (key: string): GgufValue | undefined => metadata.get(`${architecture}.${key}`);
  return {
    raw,
    number: (key) => numberOf(raw(key), key),
    text: (key) => {
      const value = raw(key);
      return typeof value === 'string' ? value : undefined;
    },
  };
};

/** Some files give a number for each layer; where all are the same it is one. */
export function numberOf(value: GgufValue | undefined, key: string): number | undefined {
  if (Array.isArray(value) && value.length > 0) {
    if (value.some((each) => each !== value[0]))
      throw new FettleError(
        'MODEL_UNSUPPORTED',
        `The layers of the model differ in ${key}.`,
        'Choose a model whose layers are alike.',
      );
    return numberOf(value[0], key);
  }
  return typeof value === 'number' ? value : undefined;
}

/** A float32 as its shortest decimal: 9.99999974e-6 was written as 1e-5. */
export const shortest = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : Number(value.toPrecision(7));
