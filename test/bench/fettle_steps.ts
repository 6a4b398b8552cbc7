/** @file LoRA steps of Fettle's engine, driven by lines on stdin: the counterpart of peft_steps.py, with the same ids, sizes and answers. */
import { createInterface } from 'node:readline';
import { isQuantised, type Precision } from '../../main/contract/recipe.ts';
import type { Device } from '../../main/engine/graph/op.ts';
import { loadBase, measureRounding, readSpec } from '../../main/engine/index.ts';
import { DEVICE_TOKENS } from '../../main/engine/model/pieces.ts';
import type { Batch } from '../../main/engine/types.ts';
import { openModel } from '../../main/formats/open.ts';

const [path, precision, lengthText, rowsText, rankText, threadsText, device] = process.argv.slice(2) as [
  string,
  Precision,
  string,
  string,
  string,
  string,
  Device,
];
const [length, rows, rank, threads] = [lengthText, rowsText, rankText, threadsText].map(Number) as [
  number,
  number,
  number,
  number,
];
const files = await openModel(path);
const count = rows * length;
const { vocab } = readSpec(files.config);
const token = (i: number): number => ((i % length) * 7919) % vocab;
const ids = Int32Array.from({ length: count }, (_, i) => token(i));
const rounding = isQuantised(precision)
  ? await measureRounding(files.config, files.weights, { threads, precision }, [{ ids, loss: new Uint8Array(count) }])
  : undefined;
// On a graphics processor as where there is room for it.
const [deviceTokens] = DEVICE_TOKENS;
const base = await loadBase(files.config, files.weights, { threads, device, deviceTokens, precision, rounding });
await files.close();
const targetModules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
const model = base.withLora({ rank, alpha: 2 * rank, targetModules, seed: 1 });
const optimiser = model.optimizer({ beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 });

const batch: Batch = {
  rows,
  length,
  ids,
  // The last position predicts the token after it, so that all positions carry loss on both sides.
  labels: Int32Array.from({ length: count }, (_, i) => (((i % length) + 1) * 7919) % vocab),
  positions: Int32Array.from({ length: count }, (_, i) => i % length),
  documents: new Int32Array(count).fill(1),
  tokens: count,
  labelled: count,
};

const answer = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ ready: true, node: process.version });
for await (const line of createInterface({ input: process.stdin })) {
  const seconds: number[] = [];
  const losses: number[] = [];
  for (let i = 0; i < Number(line); i++) {
    const start = performance.now();
    await optimiser.zero();
    losses.push((await model.accumulate(batch, 1 / batch.labelled)) / batch.labelled);
    await optimiser.step(1e-4);
    seconds.push((performance.now() - start) / 1000);
  }
  answer({ seconds, losses, peakBytes: process.resourceUsage().maxRSS * 1024 });
}
