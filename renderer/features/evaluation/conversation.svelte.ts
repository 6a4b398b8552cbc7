/** @file An answer as it is written, piece by piece. */
import type { Client, InputOf } from '../../../main/contract/api.ts';
import type { Answer, ErrorInfo } from '../../../main/contract/entities.ts';
import { toFettleError } from '../../../main/contract/errors.ts';

export class StreamedAnswer {
  readonly target: string;
  text = $state('');
  answer = $state.raw<Answer>();
  error = $state.raw<{ readonly message: string; readonly hint?: string | undefined }>();
  readonly done = $derived(this.answer !== undefined || this.error !== undefined);
  #id: string | undefined;
  #stop: (() => void) | undefined;

  constructor(target: string) {
    this.target = target;
  }

  /** Resolves when the answer is whole, or will not be. */
  async write(client: Client, input: Omit<InputOf<'generate.start'>, 'target'>): Promise<void> {
    try {
      const { id } = await client.call('generate.start', { ...input, target: this.target });
      this.#id = id;
      await new Promise<void>((resolve) => {
        this.#stop = client.subscribe(`generation:${id}`, 0, (_seq, event) => {
          if (event.type === 'piece') {
            this.text += event.text;
            return;
          }
          if (event.type === 'done') this.answer = event.answer;
          else this.error = event.error satisfies ErrorInfo;
          resolve();
        });
      });
    } catch (error) {
      this.error = toFettleError(error);
    }
    this.#stop?.();
  }

  async stop(client: Client): Promise<void> {
    if (this.#id !== undefined && !this.done) await client.call('generate.stop', { id: this.#id });
  }
}
