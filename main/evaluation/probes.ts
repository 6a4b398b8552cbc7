/** @file The general probe suite of Fettle's own (resources/probes): items by skill, and text of several domains. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const common = { id: z.string(), skill: z.string(), prompt: z.string().min(1) };
export const Probe = z.discriminatedUnion('kind', [
  z.strictObject({
    ...common,
    kind: z.literal('choice'),
    choices: z.array(z.string().min(1)).min(2).max(4),
    answer: z.int().min(0),
  }),
  z.strictObject({
    ...common,
    kind: z.literal('generate'),
    answer: z.string().min(1),
    check: z.enum(['exact', 'contains', 'number']),
    maxTokens: z.int().min(1).max(24),
  }),
]);
export type Probe = z.infer<typeof Probe>;

export interface ProbeSuite {
  readonly skills: readonly { readonly skill: string; readonly probes: readonly Probe[] }[];
  readonly prose: readonly { readonly domain: string; readonly text: string }[];
}

/** Packaged apps set FETTLE_RESOURCES; in the repository it lies at the top. */
export const probesFolder = (): string =>
  join(process.env.FETTLE_RESOURCES ?? fileURLToPath(new URL('../../resources', import.meta.url)), 'probes');

export async function readProbes(folder: string): Promise<ProbeSuite> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.jsonl')).sort();
  const skills = await Promise.all(
    names.map(async (name) => {
      const lines = (await readFile(join(folder, name), 'utf8')).split('\n').filter((line) => line.trim() !== '');
      return { skill: name.replace(/\.jsonl$/, ''), probes: lines.map((line) => Probe.parse(JSON.parse(line))) };
    }),
  );
  const texts = (await readdir(join(folder, 'prose'))).filter((name) => name.endsWith('.md')).sort();
  const prose = await Promise.all(
    texts.map(async (name) => ({
      domain: name.replace(/\.md$/, ''),
      text: await readFile(join(folder, 'prose', name), 'utf8'),
    })),
  );
  return { skills, prose };
}
