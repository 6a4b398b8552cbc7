/** @file Memory for activations that is used again by every micro-batch, whatever its shape. */
import type { Tensor } from 'onnxruntime-node';
import { discard } from '../../formats/discard.ts';
import { sizeOf, type TensorType } from '../graph/value.ts';
import { mappedFloats } from './mapped.ts';
import { tensor } from './session.ts';

/** Slots of memory that grow to the largest use and are cut into tensors anew each time. */
export class Workspace {
  readonly #slots = new Map<string | number, Float32Array>();

  /** Float32 tensors of the given types in slot `slot`. What the slot held before is gone. */
  tensors(slot: string | number, types: ReadonlyMap<string, TensorType>): Record<string, Tensor> {
    const need = slotBytes(types) / Float32Array.BYTES_PER_ELEMENT;
    let memory = this.#slots.get(slot);
    if (!memory || memory.length < need) {
      if (memory) discard(memory);
      this.#slots.set(slot, (memory = mappedFloats(need)));
    }
    const tensors: Record<string, Tensor> = {};
    let offset = 0;
    for (const [name, { shape }] of types) {
      const size = sizeOf(shape);
      tensors[name] = tensor(memory.subarray(offset, offset + size), shape);
      offset += padded(size);
    }
    return tensors;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#slots.values().reduce((sum, slot) => sum + slot.byteLength, 0);
  }

  release(): void {
    this.#slots.clear();
  }
}

/** Tensors begin at cache lines of 64 bytes. */
const padded = (elements: number): number => Math.ceil(elements / 16) * 16;

/** Bytes of a slot that holds float32 tensors of the given types. */
export const slotBytes = (types: ReadonlyMap<string, TensorType>): number =>
  [...types.values()].reduce((sum, { shape }) => sum + 4 * padded(sizeOf(shape)), 0);

const WIDTH = { float32: 4, float16: 2, int64: 8, int8: 1, uint8: 1 } as const;

export const bytesOf = ({ shape, dtype }: TensorType): number => WIDTH[dtype] * sizeOf(shape);
