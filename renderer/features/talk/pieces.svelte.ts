/** @file Answers as they are written, piece by piece, by what they are told under. */
import type { Client } from '../../../main/contract/api.ts';

export class Pieces {
  #texts = $state<Record<string, string>>({});
  readonly #stops = new Map<string, () => void>();

  /** What was said so far. */
  of(generation: string): string {
    return this.#texts[generation] ?? '';
  }

  /** Listens to what is being written, from its first piece, and to nothing else any more. */
  follow(client: Client, generations: readonly string[]): void {
    for (const [id, stop] of this.#stops)
      if (!generations.includes(id)) {
        stop();
        this.#stops.delete(id);
      }
    for (const id of generations)
      if (!this.#stops.has(id)) {
        this.#texts[id] = '';
        this.#stops.set(
          id,
          client.subscribe(`generation:${id}`, 0, (_seq, event) => {
            if (event.type === 'piece') this.#texts[id] += event.text;
          }),
        );
      }
  }
}
