/** @file What training holds in memory, counted from the programs that it would run: nothing is opened, nothing allocated. */
import { isQuantised, type Precision, type Recipe } from '../../contract/recipe.ts';
import { isTied, type ModelSpec } from '../architectures/spec.ts';
import type { Program } from '../graph/emit.ts';
import type { Device } from '../graph/op.ts';
import { nodeOf, sizeOf, type Node, type TensorType, type Value } from '../graph/value.ts';
import type { TrainedShape } from '../layers/block.ts';
import type { BackwardPiece } from '../segments/compile.ts';
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

/** Bytes, by what they are for, unless said otherwise. */
export interface Footprint {
  readonly base: BaseBytes;
  readonly trained: TrainedSize;
  /** Micro-batches at a time: each holds what one lane does, those after the first gradients too. */
  readonly lanes: number;
  readonly lane: LaneBytes;
}

interface BaseBytes {
  /** The weights in their precision; none where all of them are trained. */
  readonly weights: number;
  /** The same in float32, of which the largest tensor is held besides while it is rounded. */
  readonly exact: number;
  readonly largest: number;
}

interface TrainedSize {
  readonly numbers: number;
  /** Bytes of the largest matrix. */
  readonly largest: number;
}

interface LaneBytes {
  /** Held between forward and backward pass, and by the passes themselves. */
  readonly activations: number;
  /** Masks and tables that each micro-batch brings. */
  readonly fed: number;
  /** Most that lives between the ops of one pass over a block, going forward, back and answering; and of the head's. */
  readonly blockScratch: readonly number[];
  readonly headScratch: readonly number[];
  /** Of the rows that the head takes at a time. */
  readonly logits: number;
  /** Of what is trained that a pass over a block gives, the largest. */
  readonly gradients: number;
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
  const sizes = trainedLayout(spec, recipe).entries.map(({ size }) => size);
  const numbers = sum(sizes);
  const cut = cutOf(spec, recipe, where, numbers);
  const programs = programsOf(spec, recipe, where.device, cut);
  return {
    base: baseBytes(spec, recipe, programs),
    trained: { numbers, largest: FLOAT * Math.max(...sizes) },
    lanes: cut.lanes,
    lane: laneBytes(spec, recipe, cut, programs, where.device),
  };
}

/** How a batch is cut into micro-batches, of which each lane has one. */
interface Cut {
  readonly lanes: number;
  /** Rows of a micro-batch, and their length. */
  readonly batch: number;
  readonly length: number;
  /** That the head takes at a time. */
  readonly headRows: number;
}

/** @param trained numbers */
function cutOf(spec: ModelSpec, recipe: MemoryKeys, { device, threads, tokens }: Where, trained: number): Cut {
  const pieces = PIECES[device];
  const atOnce = tokens ?? pieces.tokens;
  const length = Math.max(LENGTH_STEP, roundedLength(recipe.maxLength));
  const total = recipe.batchSize * length;
  const oneLane = device !== 'cpu' || recipe.method === 'full' || trained > MOST_GRADIENTS;
  const most = oneLane ? 1 : lanesWorth(spec, threads, total);
  const share = Math.ceil(Math.min(atOnce, most === 1 ? atOnce : total) / most);
  const batch = Math.max(1, Math.min(recipe.batchSize, Math.floor(share / length)));
  const lanes = Math.min(most, Math.ceil(recipe.batchSize / batch));
  return { lanes, batch, length, headRows: Math.min(pieces.headRows, batch * length) };
}

/** The programs of a step over one micro-batch. */
interface StepPrograms {
  readonly embedding: Program;
  /** Training, and measuring. */
  readonly heads: readonly Program[];
  /** Of each layer; those of a kind are the same. */
  readonly layers: readonly LayerPrograms[];
}

interface LayerPrograms {
  readonly piece: BackwardPiece;
  readonly answer: Pick<Program, 'outputs'>;
}

function programsOf(spec: ModelSpec, recipe: MemoryKeys, device: Device, cut: Cut): StepPrograms {
  const { batch, length: time, headRows } = cut;
  const options: ProgramOptions = { device, precision: recipe.precision };
  const trained = trainedShape(recipe);
  const outer =
    trained.kind === 'whole'
      ? ['head', ...spec.finalVectors.map(({ name }) => name)]
      : ['head'].filter((name) => savedInputs(spec, recipe.modulesToSave).has(name));
  const kinds = new Map(
    [...new Set(spec.kinds)].map((kind) => {
      const shape = { kind, batch, time, packed: recipe.packing, trained };
      return [
        kind,
        { piece: trainingPiece(options, spec, shape), answer: blockProgram(options, spec, shape) },
      ] as const;
    }),
  );
  return {
    embedding: embedProgram(options, spec, batch * time),
    heads: [headProgram(options, spec, 'train', headRows, outer), headProgram(options, spec, 'loss', headRows)],
    layers: spec.kinds.map((kind) => kinds.get(kind)!),
  };
}

function baseBytes(spec: ModelSpec, recipe: MemoryKeys, { embedding, heads, layers }: StepPrograms): BaseBytes {
  const tied = isTied(spec);
  const isBase = (name: string): boolean => !perBatchInput(name) && !trainedInput(name) && name !== 'dy';
  const blocks = layers.map(({ piece }) => fedBytes([piece.forward.inputs, piece.backward.inputs], isBase));
  const head = fedBytes(
    heads.map(({ inputs }) => inputs),
    isBase,
  );
  const table = fedBytes([embedding.inputs], (name) => isBase(name) && !(tied && heads[0]!.inputs.has(name)));
  const sameTable = tied && !isQuantised(recipe.precision);
  const wanted = wantedBy(spec);
  const exact = [...wanted.embedding, ...wanted.final, ...(tied ? [] : [wanted.head]), ...wanted.layers.flat()].map(
    ({ shape }) => FLOAT * sizeOf(shape),
  );
  return {
    weights: recipe.method === 'full' ? 0 : sum(blocks) + head + (sameTable ? 0 : table),
    exact: sum(exact),
    largest: Math.max(...exact),
  };
}

function laneBytes(
  spec: ModelSpec,
  recipe: MemoryKeys,
  cut: Cut,
  { heads, layers }: StepPrograms,
  device: Device,
): LaneBytes {
  const largest = (bytes: (layer: LayerPrograms) => number): number => Math.max(...layers.map(bytes));
  const hidden = FLOAT * cut.batch * cut.length * spec.hidden;
  const kept = ({ piece }: LayerPrograms): number =>
    slotBytes(new Map([...piece.forward.outputs].filter(([name]) => name !== 'y')));
  const saved = recipe.activationCheckpointing
    ? largest(kept) + hidden
    : sum(layers.map((layer, i) => Math.max(kept(layer), i < 2 ? hidden : 0)));
  return {
    activations:
      saved +
      sum(layers.map(({ piece }) => bytesOf(piece.forward.outputs.get('y')!))) +
      // The embedding, two gradients of hidden states, that of the head's; rows into the head and their gradient.
      4 * hidden +
      2 * FLOAT * cut.headRows * spec.hidden,
    fed: largest(({ piece }) => fedBytes([piece.forward.inputs, piece.backward.inputs], perBatchInput)),
    blockScratch: [
      largest(({ piece }) => scratchBytes(device, piece.forward)),
      largest(({ piece }) => scratchBytes(device, piece.backward, new Set(piece.saved.values()))),
      largest(({ answer }) => scratchBytes(device, answer)),
    ],
    headScratch: heads.map((program) => scratchBytes(device, program)),
    logits: FLOAT * cut.headRows * spec.vocab,
    gradients: largest(({ piece }) => gradientBytes(piece.backward)),
  };
}

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

const perBatchInput = (name: string): boolean =>
  ['ids', 'positions', 'labels', 'cos', 'sin'].includes(name) || name.startsWith('mask.') || name.endsWith('.dropout');
/** Saved values, gradients, what enters a segment, an adapter's matrices. */
const trainedInput = (name: string): boolean =>
  name === 'x' || /^(saved|g|d)\./.test(name) || /\.(A|B\.[^.]+|M\.[^.]+)$/.test(name);

function fedBytes(inputs: readonly ReadonlyMap<string, TensorType>[], counts: (name: string) => boolean): number {
  const all = new Map(inputs.flatMap((each) => [...each]));
  return sum([...all].map(([name, type]) => (counts(name) ? bytesOf(type) : 0)));
}

const gradientBytes = ({ outputs }: Pick<Program, 'outputs'>): number =>
  fedBytes([outputs], (name) => name.startsWith('d.') && name !== 'd.x');

/**
 * Most bytes of results that are alive at a time between the ops of a program, those aside that leave it or arrive: each
 * lives from its op to the last that reads it; a reshape is another name for the same bytes.
 * @param given values that arrive instead of being computed.
 */
function scratchBytes(
  device: Device,
  { outputs }: Pick<Program, 'outputs'>,
  given: ReadonlySet<TensorType> = new Set(),
): number {
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
    most = Math.max(most, alive + (node.op.inner?.(node, device) ?? 0));
    const done = new Set([...node.inputs.map(held).filter((v) => counts(v) && lastUse.get(v) === node)]);
    for (const v of [...done, ...made.filter((each) => !lastUse.has(each))]) alive -= bytesOf(v);
  }
  return most;
}
