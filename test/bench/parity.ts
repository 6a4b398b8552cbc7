/**
 * @file `npm run bench:parity`: how far Fettle's numbers are from transformers', peft's and PyTorch's, for each
 * architecture and each method of training, on the tiny models and with the measures that test/numerics asserts.
 * Prints a table (Markdown) and, as the last line, JSON. Option: --only LIST (of the table's names).
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import onnxruntime from 'onnxruntime-node/package.json' with { type: 'json' };
import { found } from '../support/needs.ts';
import { runOracle } from '../support/oracle.ts';
import { ARCHITECTURES, METHODS, openParity, TOLERANCE } from '../support/parity.ts';
import { readOptions, stop } from './options.ts';

const options = readOptions({ only: '' });
if (!found.python) stop('This benchmark needs PyTorch with peft (.ci/run installs it into test/numerics/.venv).');
const chosen = (names: readonly string[]): string[] =>
  options.only ? names.filter((name) => options.only.split(',').includes(name)) : [...names];
const KINDS = [
  { kind: 'architecture', script: 'tiny_models.py', names: chosen(ARCHITECTURES) },
  { kind: 'method', script: 'methods.py', names: chosen(METHODS) },
] as const;

const versions = {
  node: process.version,
  'onnxruntime-node': onnxruntime.version,
  ...(JSON.parse(
    execFileSync(
      found.python,
      [
        '-c',
        'import json, torch, transformers, peft; print(json.dumps({m.__name__: m.__version__ for m in (torch, transformers, peft)}))',
      ],
      { encoding: 'utf8' },
    ),
  ) as Record<string, string>),
};
const folder = mkdtempSync(join(tmpdir(), 'fettle-parity-'));
const results = [];
try {
  for (const { kind, script, names } of KINDS) {
    if (names.length > 0) runOracle(found.python, script, [folder, ...names]);
    for (const name of names) {
      // Afresh for each: steps change what is trained.
      const measure = async <T>(of: (each: Awaited<ReturnType<typeof openParity>>) => Promise<T>): Promise<T> => {
        const each = await openParity(join(folder, name), kind);
        const made = await of(each);
        await each.release();
        return made;
      };
      results.push({
        kind,
        name,
        logits: await measure((each) => each.logits()),
        gradients: await measure((each) => each.gradients()),
        steps: await measure((each) => each.steps()),
        greedy: await measure((each) => each.greedy()),
      });
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const small = (x: number): string => x.toExponential(1);
console.log(
  [
    '| model or method | logits | gradients | loss, 20 steps | gradient norm, 20 steps | tokens of greedy text |',
    '| --- | --- | --- | --- | --- | --- |',
    ...results.map(
      ({ name, logits, gradients, steps, greedy }) =>
        `| ${name} | ${small(logits)} | ${small(gradients.worst)} | ${small(steps.loss)} | ${small(steps.norm)} | ${greedy.equal} of ${greedy.of} |`,
    ),
    `| **asserted: below** | ${small(TOLERANCE.logits)} | ${small(TOLERANCE.gradient)} | ${small(TOLERANCE.loss)} | ${small(TOLERANCE.gradient)} | all |`,
  ].join('\n'),
);
console.log(JSON.stringify({ benchmark: 'parity', cpu: cpus()[0]?.model ?? 'unknown', versions, TOLERANCE, results }));
