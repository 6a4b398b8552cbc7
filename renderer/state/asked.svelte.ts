/** @file A question to the host and its latest answer: asked anew when what it depends on changes, or when the host says that something did. */
import type { ChangedEvent } from '../../main/contract/api.ts';
import { toFettleError, type FettleError } from '../../main/contract/errors.ts';

type What = ChangedEvent['what'];

/** Tells views that something changed on the host. */
export class Changes {
  readonly #listeners = new Set<(event: ChangedEvent | null) => void>();

  /** Null: anything may have changed, as after a lost connection. */
  tell(event: ChangedEvent | null): void {
    for (const listener of this.#listeners) listener(event);
  }
  on(listener: (event: ChangedEvent | null) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export class Asked<T> {
  /** The latest answer; kept while a new one is on its way, so that nothing jumps. */
  data = $state.raw<T>();
  error = $state.raw<FettleError>();
  /** True until the first answer or error. */
  waiting = $state(true);
  /** Counts what was asked about: answers about something else are dropped. */
  #subject = 0;
  #busy = false;
  #again: (() => Promise<T>) | undefined;

  /** Asks; while an answer is on its way, asks once more after it. */
  async ask(question: () => Promise<T>): Promise<void> {
    if (this.#busy) {
      this.#again = question;
      return;
    }
    this.#busy = true;
    const subject = this.#subject;
    await this.#answer(question);
    if (subject !== this.#subject) return;
    this.#busy = false;
    const again = this.#again;
    this.#again = undefined;
    if (again) await this.ask(again);
  }

  /** Forgets the answer: the question is about something else now. */
  forget(): void {
    this.#subject += 1;
    this.#again = undefined;
    this.#busy = false;
    this.data = undefined;
    this.error = undefined;
    this.waiting = true;
  }

  async #answer(question: () => Promise<T>): Promise<void> {
    const subject = this.#subject;
    try {
      const data = await question();
      if (subject !== this.#subject) return;
      this.data = data;
      this.error = undefined;
    } catch (error) {
      if (subject !== this.#subject) return;
      this.error = toFettleError(error);
    }
    this.waiting = false;
  }
}

export interface AskOptions {
  readonly changes: Changes;
  /** What the answer rests on. */
  readonly on: readonly What[];
  /** A key that names what is asked about: where it changes, the old answer is forgotten at once. */
  readonly about?: () => unknown;
  /** False: do not ask yet. */
  readonly when?: () => boolean;
}

/** For components: asks at once, again when reactive values in `question` change, and when the host tells of `on`. */
export function ask<T>(question: () => Promise<T>, options: AskOptions): Asked<T> {
  const asked = new Asked<T>();
  let about: unknown;
  $effect(() => {
    const now = options.about?.();
    if (now !== about) asked.forget();
    about = now;
    if (options.when && !options.when()) return;
    // Called here, so that what it reads is what this effect depends on.
    const first = question();
    // Where a newer question takes its place, nobody hears of this one any more.
    first.catch(() => undefined);
    void asked.ask(() => first);
    return options.changes.on((event) => {
      if (event === null || options.on.includes(event.what)) void asked.ask(question);
    });
  });
  return asked;
}
