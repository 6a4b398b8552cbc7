/** @file Rotary tables: made once for each length, and which of their rows a token is turned by. */
import type { LayerKind, ModelSpec } from '../architectures/spec.ts';
import type { Memory } from '../segments/memory.ts';
import { numbers, zeros, type Tensors } from '../segments/session.ts';
import { documentLengths, type MicroBatch } from './microbatch.ts';
import { longTexts } from './segments.ts';

/** Sets of frequencies: LongRoPE has a second one, for long texts. */
type FrequencySet = 'short' | 'long';

/** Tables of so many lengths are kept for each kind of layer. */
const TABLES_KEPT = 12;

/** They stay where they are used, so that a step, or a token of an answer, brings in what is its own alone. */
export class RotaryTables {
  readonly #spec: ModelSpec;
  readonly #memory: Memory;
  readonly #known = new Map<string, Tensors>();

  constructor(spec: ModelSpec, memory: Memory) {
    this.#spec = spec;
    this.#memory = memory;
  }

  /** Of `positions` positions for each of the sets; those that were not asked for longest go. */
  async of(kind: LayerKind, positions: number, sets: readonly FrequencySet[]): Promise<Tensors> {
    const slot = `tables ${this.#spec.kinds.indexOf(kind)} ${positions} ${sets.join()}`;
    const known = this.#known.get(slot);
    this.#known.delete(slot);
    const tables = known ?? (await this.#memory.put(slot, rotaryTables(kind, positions, sets)));
    this.#known.set(slot, tables);
    if (this.#known.size > TABLES_KEPT * new Set(this.#spec.kinds).size) {
      const [oldest] = this.#known.keys();
      this.#known.delete(oldest!);
      await this.#memory.put(oldest!, {});
    }
    return tables;
  }

  clear(): void {
    this.#known.clear();
  }
}

/** The sets that a text of `time` tokens may need. */
export const setsFor = (kind: LayerKind, time: number): readonly FrequencySet[] =>
  longTexts(kind, time) ? ['short', 'long'] : ['short'];

/** Rows of the rotary tables: a token's position, in LongRoPE's second set where its document is long. */
export function turnedPositions(kind: LayerKind, micro: MicroBatch): Int32Array {
  const { positions, length } = micro;
  if (!longTexts(kind, length)) return positions;
  const lengths = documentLengths(micro);
  return positions.map((p, i) => (lengths[i]! > kind.rotary!.long!.after ? length + p : p));
}

/** cos and sin of each position's angles, [positions, pairs] for each set of frequencies, one after the other; none where positions are learned. */
export function rotaryTables({ rotary }: LayerKind, positions: number, sets: readonly FrequencySet[]): Tensors {
  if (!rotary) return {};
  const pairs = rotary.frequencies.length;
  const shape = [sets.length * positions, pairs];
  const [cos, sin] = [zeros(shape), zeros(shape)];
  const [c, s] = [numbers(cos), numbers(sin)];
  let at = 0;
  for (const set of sets) {
    const frequencies = set === 'long' ? rotary.long!.frequencies : rotary.frequencies;
    for (let p = 0; p < positions; p++)
      for (let i = 0; i < pairs; i++, at++) {
        c[at] = rotary.factor * Math.cos(p * frequencies[i]!);
        s[at] = rotary.factor * Math.sin(p * frequencies[i]!);
      }
  }
  return { cos, sin };
}
