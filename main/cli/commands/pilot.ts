/** @file fettle pilot: the ways of tuning tried on a slice and measured. */
import type { Measured, Pilot } from '../../contract/entities.ts';
import { number, text, type Command, type Context } from '../command.ts';
import { count, table, wrap } from '../format.ts';
import { waitForSubject } from '../wait.ts';

const shown = (measured: Measured): string =>
  `${measured.value.toFixed(3)} (${measured.low.toFixed(3)} to ${measured.high.toFixed(3)})`;

function describePilot({ say }: Context, { result }: Pilot): void {
  if (!result) return;
  say(`Loss in nats a token, with its 95% margin; ${count(result.budget)} tokens to learn from for each way.`);
  say(
    table([
      ['  way', 'tokens', ...result.sets.map((set) => set.title)],
      ...result.arms.map(({ way, tokens, losses }) => [
        `  ${way === 'base' ? 'the model as it is' : way}`,
        count(tokens),
        ...losses.map(shown),
      ]),
    ]),
  );
  say(wrap(result.sentence, '  '));
}

export const pilotCommand: Command = {
  name: 'pilot',
  usage: 'PROJECT [--model MODEL] [--minutes 6 | --tokens N]',
  summary: 'Try the ways of tuning on a slice and measure them',
  args: [1, 1],
  options: { model: { type: 'string' }, minutes: { type: 'string' }, tokens: { type: 'string' } },
  help: 'Instruct, non-instruct and, where there are examples and text, both in stages: on the same budget of tokens, measured on the same unseen rows, and on text that has nothing to do with them. Minutes only choose the budget.',
  async run(context) {
    const [model, minutes, tokens] = [text(context, 'model'), number(context, 'minutes'), number(context, 'tokens')];
    const { id } = await context.client.call('pilots.start', {
      project: context.args[0]!,
      ...(model === undefined ? {} : { model }),
      ...(minutes === undefined ? {} : { minutes }),
      ...(tokens === undefined ? {} : { tokens }),
    });
    await waitForSubject(context, 'pilot', id);
    const pilot = await context.client.call('pilots.show', { pilot: id });
    context.result(pilot);
    describePilot(context, pilot);
  },
};
