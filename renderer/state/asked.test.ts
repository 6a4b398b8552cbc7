/** @file What a view would show wrongly: an old answer over a newer one, or a storm of questions. */
import { describe, expect, it } from 'vitest';
import { FettleError } from '../../main/contract/errors.ts';
import { Asked } from './asked.svelte.ts';

const later = <T>() => Promise.withResolvers<T>();

describe('a question to the host', () => {
  it('keeps the old answer until the new one is there', async () => {
    const asked = new Asked<number>();
    await asked.ask(() => Promise.resolve(1));
    const next = later<number>();
    const asking = asked.ask(() => next.promise);
    expect(asked.data).toBe(1);
    next.resolve(2);
    await asking;
    expect(asked.data).toBe(2);
  });

  it('asks once more, not ten times, when ten changes come while it waits', async () => {
    const asked = new Asked<number>();
    const first = later<number>();
    let times = 0;
    const question = () => {
      times += 1;
      return times === 1 ? first.promise : Promise.resolve(times);
    };
    const asking = asked.ask(question);
    for (let i = 0; i < 10; i++) void asked.ask(question);
    first.resolve(1);
    await asking;
    expect(times).toBe(2);
    expect(asked.data).toBe(2);
  });

  it('drops an answer about something else', async () => {
    const asked = new Asked<string>();
    const slow = later<string>();
    const asking = asked.ask(() => slow.promise);
    asked.forget();
    await asked.ask(() => Promise.resolve('new'));
    slow.resolve('old');
    await asking;
    expect(asked.data).toBe('new');
  });

  it('shows an error as the host said it, and forgets it with the next answer', async () => {
    const asked = new Asked<number>();
    await asked.ask(() => Promise.reject(new FettleError('DISK_FULL', 'The disk is full.', 'Free some space.')));
    expect(asked.error?.hint).toBe('Free some space.');
    expect(asked.waiting).toBe(false);
    await asked.ask(() => Promise.resolve(1));
    expect(asked.error).toBeUndefined();
  });
});
