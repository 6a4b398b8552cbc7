/** @file Asks llama.cpp. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TokenIds {
  /** Special tokens that stand in a text are plain text. */
  readonly literal: readonly (readonly number[])[];
  /** They are known. */
  readonly parsed: readonly (readonly number[])[];
}

/** The ids of each text, for each model: a GGUF file's bytes, or its path. */
export function tokenizeWithLlamaCpp(
  folder: string,
  models: readonly (Buffer | string)[],
  texts: readonly string[],
): TokenIds[] {
  const temporary = mkdtempSync(join(tmpdir(), 'fettle-llama-cpp-'));
  try {
    const paths = models.map((model, i) => {
      if (typeof model === 'string') return model;
      const path = join(temporary, `${i}.gguf`);
      writeFileSync(path, model);
      return path;
    });
    const [request, answer] = [join(temporary, 'request.json'), join(temporary, 'answer.json')];
    writeFileSync(request, JSON.stringify({ models: paths, texts }));
    execFileSync(process.execPath, [join(folder, 'tokenize.mjs'), request, answer], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    return JSON.parse(readFileSync(answer, 'utf8')) as TokenIds[];
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
