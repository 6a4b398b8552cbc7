/** @file llama.cpp, where node-llama-cpp is installed: reads a GGUF file as another program would. Fettle needs it for nothing else. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { OtherReader } from './other-reader.ts';

/** Of node-llama-cpp only what is asked of it: it need not be there to be compiled against. */
interface Next {
  readonly logits?: ReadonlyMap<number, number>;
  /** Sum of exp(logit - the largest logit). */
  readonly totalLogitWeight?: number;
}
interface Sequence {
  evaluate(
    ids: readonly number[],
    options: { readonly temperature: number; readonly yieldEogToken: boolean },
  ): AsyncIterable<number>;
  controlledEvaluate(
    input: readonly (number | readonly [number, object])[],
  ): Promise<readonly ({ readonly next?: Next } | undefined)[]>;
  clearHistory(): Promise<void>;
}
interface Model {
  tokenize(text: string, special: boolean): readonly number[];
  isEogToken(id: number): boolean;
  createContext(options: object): Promise<{ getSequence(): Sequence; dispose(): Promise<void> }>;
  dispose(): Promise<void>;
}
interface Module {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<Model>; dispose(): Promise<void> }>;
}

/** FETTLE_LLAMA_CPP names a folder whose node_modules holds it; otherwise it is looked for beside Fettle. */
async function load(): Promise<Module | null> {
  const folder = process.env.FETTLE_LLAMA_CPP;
  const path = folder && join(folder, 'node_modules/node-llama-cpp/dist/index.js');
  if (path && existsSync(path)) return (await import(pathToFileURL(path).href)) as Module;
  // The name in a variable: it is optional, and nothing may insist on it.
  const name = 'node-llama-cpp';
  return import(name).then(
    (module) => module as Module,
    () => null,
  );
}

export const llamaCppInstalled = async (): Promise<boolean> => (await load()) !== null;

/** Null where it is not installed. @throws what llama.cpp says of a file that it cannot load. */
export async function openWithLlamaCpp(
  path: string,
  {
    contextSize,
    threads,
    lora,
  }: {
    readonly contextSize: number;
    readonly threads: number;
    /** A GGUF adapter to put on it. */ readonly lora?: string;
  },
): Promise<OtherReader | null> {
  const module = await load();
  if (!module) return null;
  // They spin while they wait for each other: of a machine that has something else to do, one is left free.
  const own = Math.max(1, threads - 1);
  const llama = await module.getLlama({ build: 'never', gpu: false, logLevel: 'fatal', maxThreads: own });
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize,
    threads: { ideal: own, min: 1 },
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
    ...(lora === undefined ? {} : { lora }),
  });
  const sequence = context.getSequence();
  return {
    name: 'llama.cpp',
    tokenize: (text) => [...model.tokenize(text, true)],
    ends: (id) => model.isEogToken(id),
    // With keys and values in 32 bits.
    async goOn(prompt, tokens) {
      await sequence.clearHistory();
      const ids: number[] = [];
      for await (const id of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        ids.push(id);
        if (ids.length === tokens) break;
      }
      return ids;
    },
    async loss({ ids, loss }) {
      await sequence.clearHistory();
      // Two logits and the weight of all: of the token that came and of the one that is chosen, which is the largest. A list
      // of all probabilities, or the largest by its place, would have all logits of each token sorted.
      const wanted = (came: number): object => ({
        generateNext: {
          logits: { filter: { tokens: [came], includeSelected: true } },
          totalLogitWeight: true,
          options: { temperature: 0 },
        },
      });
      const answers = await sequence.controlledEvaluate(
        Array.from(ids, (id, i) => (loss[i + 1] ? ([id, wanted(ids[i + 1]!)] as const) : id)),
      );
      let sum = 0;
      for (let i = 1; i < ids.length; i++) {
        if (!loss[i]) continue;
        const { logits = new Map<number, number>(), totalLogitWeight = NaN } = answers[i - 1]?.next ?? {};
        sum += Math.log(totalLogitWeight) + Math.max(...logits.values()) - (logits.get(ids[i]!) ?? -Infinity);
      }
      return sum;
    },
    async close() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}
