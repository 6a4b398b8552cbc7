/** @file What training holds in memory, counted from the programs that it would run: nothing is opened, nothing allocated. */
import type { Precision, Recipe } from '../../contract/recipe.ts';
import { isTied, type ModelSpec } from '../architectures/spec.ts';
import type { Program } from '../graph/emit.ts';
import type { Device } from '../graph/op.ts';
import { nodeOf, sizeOf, type Node, type TensorType, type Value } from '../graph/value.ts';
import type { TrainedShape } from '../layers/block.ts';
import { bytesOf, slotBytes } from '../segments/workspace.ts';
import { lanesWorth, MOST_GRADIENTS } from './lanes.ts';
import { LENGTH_STEP, roundedLength } from './microbatch.ts';
import { adapterShape, savedInputs } from './model.ts';
import { PIECES } from './pieces.ts';
import { trainedParameters } from './parameters.ts';
import { blockProgram, embedProgram, headProgram, trainingPiece, type ProgramOptions } from './segments.ts';
import { wantedBy } from './weights.ts';

/** Of a recipe what its memory hangs on. */
export type MemoryKeys = Pick<
  Recipe,
  | 'method'
  | 'rank'
  | 'targetModules'
  | 'useDora'
  | 'dropout'
  | 'modulesToSave'
  | 'batchSize'
  | 'maxLength'
  | 'packing'
  | 'activationCheckpointing'
> & { readonly precision: Precision };

/** Bytes, by what they are for. */
export interface Footprint {
  /** The base's weights in their precision; none where all of them are trained. */
  readonly weights: number;
  /** The same in float32, of which the largest tensor is held besides while it is rounded. */
  readonly largestWeight: number;
  readonly exactWeights: number;
  /** Numbers that are trained; bytes of the largest matrix of them. */
  readonly trained: number;
  readonly largestTrained: number;
  /** Micro-batches at a time: each holds activations of its own, those after the first gradients too. */
  readonly lanes: number;
  /** Of one lane: held between forward and backward pass, and by the passes themselves. */
  readonly activations: number;
  /** Most that lives between the ops of one pass over a block: going forward, back and answering; and of the head's. */
  readonly blockScratch: readonly number[];
  readonly headScratch: readonly number[];
  /** Of the rows that the head takes at a time. */
  readonly logits: number;
  /** Gradients of what is trained that a pass over a block gives, the largest. */
  readonly blockGradients: number;
  /** Masks and tables that each micro-batch brings. */
  readonly perBatch: number;
}

const FLOAT = 4;

export function trainedShape(recipe: MemoryKeys): TrainedShape {
  // What an adapter's product is multiplied by takes no memory.
  return recipe.method === 'full' ? { kind: 'whole' } : adapterShape({ ...recipe, alpha: recipe.rank });
}

/** What is trained, laid out: an adapter with `modulesToSave` beside it, or all of the model's weights. Its buffers are made when they are asked for. */
export function trainedLayout(spec: ModelSpec, recipe: MemoryKeys): ReturnType<typeof trainedParameters> {
  return trainedParameters(spec, trainedShape(recipe), savedInputs(spec, recipe.modulesToSave));
}

export interface Where {
  readonly device: Device;
  /** That the runtime may use on the CPU. */
  readonly threads: number;
  /** Of a micro-batch, where they are not what the device does best. */
  readonly tokens?: number;
}

export function trainingFootprint(spec: ModelSpec, recipe: MemoryKeys, where: Where): Footprint {
  const { device, threads } = where;
  const pieces = PIECES[device];
  const atOnce = where.tokens ?? pieces.tokens;
  const options: ProgramOptions = { device, precision: recipe.precision };
  const shape = trainedShape(recipe);
  const tied = isTied(spec);
  const outer =
    shape.kind === 'whole'
      ? ['head', ...spec.finalVectors.map(({ name }) => name)]
      : ['head'].filter((name) => savedInputs(spec, recipe.modulesToSave).has(name));
  const length = Math.max(LENGTH_STEP, roundedLength(recipe.maxLength));
  const sizesTrained = trainedLayout(spec, recipe).entries.map(({ size }) => size);
  const trained = sizesTrained.reduce((a, b) => a + b, 0);
  const total = recipe.batchSize * length;
  const oneLane = device !== 'cpu' || shape.kind === 'whole' || trained > MOST_GRADIENTS;
  const most = oneLane ? 1 : lanesWorth(spec, threads, total);
  const share = Math.ceil(Math.min(atOnce, most === 1 ? atOnce : total) / most);
  const batch = Math.max(1, Math.min(recipe.batchSize, Math.floor(share / length)));
  const lanes = Math.min(most, Math.ceil(recipe.batchSize / batch));
  const tokens = batch * length;
  const headRows = Math.min(pieces.headRows, tokens);

  const embedding = embedProgram(options, spec, tokens);
  const heads = [headProgram(options, spec, 'train', headRows, outer), headProgram(options, spec, 'loss', headRows)];
  const kinds = new Map(
    [...new Set(spec.kinds)].map((kind) => {
      const own = { kind, batch, time: length, packed: recipe.packing, trained: shape };
      const piece = trainingPiece(options, spec, own);
      const { y, ...kept } = Object.fromEntries(piece.forward.outputs);
      return [
        kind,
        {
          piece,
          answer: blockProgram(options, spec, own),
          kept: slotBytes(new Map(Object.entries(kept))),
          y: bytesOf(y!),
          fed: fedBytes([piece.forward.inputs, piece.backward.inputs], perBatchInput),
        },
      ] as const;
    }),
  );
  const layers = spec.kinds.map((kind) => kinds.get(kind)!);
  const largest = (bytes: (kind: (typeof layers)[number]) => number): number => Math.max(...layers.map(bytes));

  const hidden = FLOAT * tokens * spec.hidden;
  const largestKept = largest(({ kept }) => kept);
  const savedBytes = recipe.activationCheckpointing
    ? largestKept + hidden
    : layers.reduce((sum, { kept }, layer) => sum + Math.max(kept, layer < 2 ? hidden : 0), 0);
  const activations =
    savedBytes +
    layers.reduce((sum, { y }) => sum + y, 0) +
    // The embedding, two gradients of hidden states, that of the head's; rows into the head and their gradient.
    4 * hidden +
    2 * FLOAT * headRows * spec.hidden;

  const isBase = (name: string): boolean => !perBatchInput(name) && !trainedInput(name) && name !== 'dy';
  const head = fedBytes([...heads.map(({ inputs }) => inputs)], isBase);
  const table = fedBytes([embedding.inputs], (name) => isBase(name) && !(tied && heads[0]!.inputs.has(name)));
  const sameTable = tied && recipe.precision === 'fp32';
  const weights =
    layers.reduce((sum, { piece }) => sum + fedBytes([piece.forward.inputs, piece.backward.inputs], isBase), 0) +
    head +
    (sameTable ? 0 : table);
  const wanted = wantedBy(spec);
  const sizes = [...wanted.embedding, ...wanted.final, ...(tied ? [] : [wanted.head]), ...wanted.layers.flat()].map(
    ({ shape: each }) => FLOAT * sizeOf(each),
  );
  return {
    weights: shape.kind === 'whole' ? 0 : weights,
    largestWeight: Math.max(...sizes),
    exactWeights: sizes.reduce((a, b) => a + b, 0),
    trained,
    largestTrained: FLOAT * Math.max(...sizesTrained),
    lanes,
    activations,
    blockScratch: [
      largest(({ piece }) => scratchBytes(piece.forward)),
      largest(({ piece }) => scratchBytes(piece.backward, new Set(piece.saved.values()))),
      largest(({ answer }) => scratchBytes(answer)),
    ],
    headScratch: heads.map((program) => scratchBytes(program)),
    logits: FLOAT * headRows * spec.vocab,
    blockGradients: largest(({ piece }) => gradientBytes(piece.backward)),
    perBatch: largest(({ fed }) => fed),
  };
}

const perBatchInput = (name: string): boolean =>
  ['ids', 'positions', 'labels', 'cos', 'sin'].includes(name) || name.startsWith('mask.') || name.endsWith('.dropout');
/** Saved values, gradients, what enters a segment, an adapter's matrices. */
const trainedInput = (name: string): boolean =>
  name === 'x' || /^(saved|g|d)\./.test(name) || /\.(A|B\.[^.]+|M\.[^.]+)$/.test(name);

function fedBytes(inputs: readonly ReadonlyMap<string, TensorType>[], counts: (name: string) => boolean): number {
  const all = new Map(inputs.flatMap((each) => [...each]));
  return [...all].reduce((sum, [name, type]) => sum + (counts(name) ? bytesOf(type) : 0), 0);
}

const gradientBytes = ({ outputs }: Pick<Program, 'outputs'>): number =>
  fedBytes([outputs], (name) => name.startsWith('d.') && name !== 'd.x');

/**
 * Most bytes of results that are alive at a time between the ops of a program, those aside that leave it or arrive: each
 * lives from its op to the last that reads it; a reshape is another name for the same bytes.
 * @param given values that arrive instead of being computed.
 */
function scratchBytes({ outputs }: Pick<Program, 'outputs'>, given: ReadonlySet<TensorType> = new Set()): number {
  const leaving = new Set<TensorType>(outputs.values());
  const order: Node[] = [];
  const seen = new Set<Node>();
  const visit = (v: Value): void => {
    const node = nodeOf(v);
    if (!node || seen.has(node) || given.has(v)) return;
    seen.add(node);
    node.inputs.forEach(visit);
    order.push(node);
  };
  for (const v of leaving) visit(v as Value);
  const isReshape = (node: Node | undefined): boolean => node?.op.name === 'reshape';
  const held = (v: Value): Value => {
    const node = nodeOf(v);
    return node && isReshape(node) && !given.has(v) ? held(node.inputs[0]!) : v;
  };
  const lastUse = new Map<Value, Node>();
  for (const node of order) for (const v of node.inputs) lastUse.set(held(v), node);
  const counts = (v: Value): boolean => nodeOf(v) !== undefined && !given.has(v) && !leaving.has(v);
  let [alive, most] = [0, 0];
  for (const node of order) {
    const made = isReshape(node) ? [] : node.outputs.filter(counts);
    for (const v of made) alive += bytesOf(v);
    most = Math.max(most, alive);
    const done = new Set([...node.inputs.map(held).filter((v) => counts(v) && lastUse.get(v) === node)]);
    for (const v of [...done, ...made.filter((each) => !lastUse.has(each))]) alive -= bytesOf(v);
  }
  return most;
}
