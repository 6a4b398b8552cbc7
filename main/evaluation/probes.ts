/** @file The general probe suite of Fettle's own (resources/probes): items by skill, and text of several domains, with its version. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FettleError } from '../contract/errors.ts';
import { resource } from '../core/resources.ts';

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

/** suite.json: what the files beside it are. */
const Manifest = z.object({
  /** Of the files' form: another one cannot be read. */
  format: z.int(),
  /** Raised whenever an item or a text changes, since figures of two versions cannot be compared. */
  version: z.int(),
  /** SHA-256 over all items and texts; scripts/probes.test.ts holds it, so that no change goes without a new version. */
  sha256: z.string(),
});
const FORMAT = 1;

export interface ProbeSuite {
  readonly version: number;
  /** Over what was read. */
  readonly sha256: string;
  readonly skills: readonly { readonly skill: string; readonly probes: readonly Probe[] }[];
  readonly prose: readonly { readonly domain: string; readonly text: string }[];
}

export const probesFolder = (): string => resource('probes');

/** @throws FORMAT_INVALID in words, whatever is wrong with the text. */
function readAs<T>(schema: z.ZodType<T>, text: string, where: string): T {
  const broken = (what: string): FettleError =>
    new FettleError(
      'FORMAT_INVALID',
      `The general probe suite cannot be read: ${where} ${what}.`,
      'Put the suite of this Fettle back (resources/probes), by installing it again.',
    );
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw broken('is no JSON');
  }
  const read = schema.safeParse(found);
  if (read.success) return read.data;
  const [first] = read.error.issues;
  throw broken(`does not hold what it must (${first?.path.join('.') || 'as a whole'}: ${first?.message ?? 'unknown'})`);
}

const Form = z.looseObject({ format: z.int() });

/** @throws SUITE_NEWER, FORMAT_INVALID, FILE_NOT_FOUND */
export async function readProbes(folder: string): Promise<ProbeSuite> {
  const stated = await readFile(join(folder, 'suite.json'), 'utf8');
  const { format } = readAs(Form, stated, 'suite.json');
  // Before the rest is looked at: a newer form may hold anything else.
  if (format > FORMAT)
    throw new FettleError(
      'SUITE_NEWER',
      `The general probe suite was written for a newer Fettle (form ${format}; this one reads ${FORMAT}).`,
      'Use the newer Fettle, or put the suite of this one back (resources/probes).',
    );
  const { version } = readAs(Manifest, stated, 'suite.json');
  const hash = createHash('sha256');
  const read = async (path: string): Promise<string> => {
    const text = await readFile(join(folder, path), 'utf8');
    hash.update(`${path}\n${text}\n`);
    return text;
  };
  const skills: ProbeSuite['skills'][number][] = [];
  for (const name of (await readdir(folder)).filter((each) => each.endsWith('.jsonl')).sort()) {
    const lines = (await read(name)).split('\n').filter((line) => line.trim() !== '');
    const probes = lines.map((line, i) => readAs(Probe, line, `line ${i + 1} of ${name}`));
    skills.push({ skill: name.replace(/\.jsonl$/, ''), probes });
  }
  const prose: ProbeSuite['prose'][number][] = [];
  for (const name of (await readdir(join(folder, 'prose'))).filter((each) => each.endsWith('.md')).sort())
    prose.push({ domain: name.replace(/\.md$/, ''), text: await read(`prose/${name}`) });
  return { version, sha256: hash.digest('hex'), skills, prose };
}
