/** @file Room for a job beside models that are held for talking: those at rest go, the longest unused first, and what is still too little is refused. */
import { describe, expect, it } from 'vitest';
import type { Core, WorkerHandle } from '../core/context.ts';
import type { ResolvedTarget } from '../evaluation/targets.ts';
import type { GenerateEvent, GenerateMessage } from '../workers/generate.ts';
import { createGeneration, type Generation } from './generation.ts';

const PARAMETERS = 1e9;
/** Bytes that one of them takes. */
const MODEL = 4.4e9;
const DONE = { type: 'done', answer: {}, promptTokens: 1, contextTokens: 8 } as GenerateEvent['event'];

/** A machine with room for so many models, whose processes do no more than to take it. */
function machine(room: number): { generation: Generation; held: string[]; answer(): void } {
  const held: string[] = [];
  const answers: (() => void)[] = [];
  let ticks = 0;
  const run = (_: string, { model }: { model: string }, onEvent: (event: GenerateEvent) => void) => {
    held.push(model);
    const { promise, resolve } = Promise.withResolvers<void>();
    const handle: WorkerHandle<void> = {
      pid: 1,
      result: promise,
      gone: promise,
      errors: () => '',
      kill: () => undefined,
      send: (message) => {
        const { id } = message as GenerateMessage;
        answers.push(() => onEvent({ id, event: DONE }));
      },
      ask: () =>
        void setTimeout(() => {
          held.splice(held.indexOf(model), 1);
          resolve();
        }, 5),
    };
    return handle;
  };
  const core = { workers: { run }, clock: { now: () => '', ticks: () => ticks++ }, inUse: new Set(), threads: 1 };
  const generation = createGeneration(core as unknown as Core, () => (room - held.length) * MODEL + 1);
  return { generation, held, answer: () => answers.shift()!() };
}
const named = (name: string): ResolvedTarget =>
  ({ target: name, modelPath: name, under: [], adapter: null, model: { name, parameters: PARAMETERS } }) as never;
const sampling = {} as never;
const models = [{ name: 'small', parameters: 10 }, named('large').model];

describe('room for a job', () => {
  it('is made by models at rest, the longest unused first and no more than needed', async () => {
    const { generation, held, answer } = machine(2);
    for (const name of ['first', 'second']) {
      const { told } = generation.ask(named(name), { prompt: 'Hello', sampling });
      answer();
      await told;
    }
    expect(held).toEqual(['first', 'second']);
    await generation.makeRoom(models);
    expect(held).toEqual(['second']);
    // There is room already.
    await generation.makeRoom(models);
    expect(held).toEqual(['second']);
    await generation.close();
  });

  it('is not made by one that is asked something: the job is refused, and told why', async () => {
    const { generation, held, answer } = machine(1);
    const { told } = generation.ask(named('asked'), { prompt: 'Hello', sampling });
    await expect(generation.makeRoom(models)).rejects.toMatchObject({
      code: 'MEMORY_SHORT',
      message: 'large takes about 4.40 GB of memory, and 1 B are free.',
      hint: expect.stringContaining('Wait until') as string,
    });
    expect(held).toEqual(['asked']);
    answer();
    await told;
    await generation.makeRoom(models);
    expect(held).toEqual([]);
    await generation.close();
  });

  it('is refused on a machine that has none', async () => {
    const { generation } = machine(0);
    await expect(generation.makeRoom(models)).rejects.toMatchObject({ code: 'MEMORY_SHORT' });
    await generation.makeRoom([models[0]!].map((small) => ({ ...small, parameters: 0 })));
  });
});
