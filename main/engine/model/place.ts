/** @file A network on a graphics processor, from one that the host has in memory. */
import type { Tensor } from 'onnxruntime-node';
import { DeviceMemory } from '../segments/device-memory.ts';
import { SessionCache, type Tensors } from '../segments/session.ts';
import { Network } from './network.ts';
import { PIECES } from './pieces.ts';
import type { BaseWeights } from './weights.ts';

export interface PlacedNetwork {
  readonly network: Network;
  readonly memory: DeviceMemory;
}

/**
 * The weights go there once, and what several names share once for all of them. Throws what the runtime does without a device.
 * @param tokens of a micro-batch.
 */
export async function placeNetwork(
  { spec, weights, cache }: Network,
  tokens: number = PIECES.webgpu.tokens,
): Promise<PlacedNetwork> {
  const memory = new DeviceMemory();
  const known = new Map<Tensor, Tensor>();
  const place = async (tensors: Tensors): Promise<Tensors> => {
    const placed: Record<string, Tensor> = {};
    for (const [name, each] of Object.entries(tensors)) {
      const there = known.get(each) ?? (await memory.keep(each));
      known.set(each, there);
      placed[name] = there;
    }
    return placed;
  };
  const layers: Tensors[] = [];
  for (const layer of weights.layers) layers.push(await place(layer));
  const placed: BaseWeights = {
    embedding: await place(weights.embedding),
    final: await place(weights.final),
    head: await place(weights.head),
    layers,
  };
  const sessions = new SessionCache({ ...cache.options, device: 'webgpu' }, new Set(spec.kinds).size);
  return { network: new Network(spec, { weights: placed }, sessions, memory, { ...PIECES.webgpu, tokens }), memory };
}
