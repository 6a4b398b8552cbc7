/** @file fettle pilot and fettle curve: short trainings that measure which way, and whether there is enough data. */
import type { LearningCurve, Measured, Pilot } from '../../contract/entities.ts';
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

const asked = (context: Context): { project: string; model?: string; minutes?: number; tokens?: number } => {
  const [model, minutes, tokens] = [text(context, 'model'), number(context, 'minutes'), number(context, 'tokens')];
  return {
    project: context.args[0]!,
    ...(model === undefined ? {} : { model }),
    ...(minutes === undefined ? {} : { minutes }),
    ...(tokens === undefined ? {} : { tokens }),
  };
};

export const pilotCommand: Command = {
  name: 'pilot',
  usage: 'PROJECT [--model MODEL] [--minutes 6 | --tokens N]',
  summary: 'Try the ways of tuning on a slice and measure them',
  args: [1, 1],
  options: { model: { type: 'string' }, minutes: { type: 'string' }, tokens: { type: 'string' } },
  help: 'Instruct, non-instruct and, where there are examples and text, both in stages: on the same budget of tokens, measured on the same unseen rows, and on text that has nothing to do with them. Minutes only choose the budget.',
  async run(context) {
    const { id } = await context.client.call('pilots.start', asked(context));
    await waitForSubject(context, 'pilot', id);
    const pilot = await context.client.call('pilots.show', { pilot: id });
    context.result(pilot);
    describePilot(context, pilot);
  },
};

function describeCurve({ say }: Context, { result }: LearningCurve): void {
  if (!result) return;
  const { dataset, points, forecast, base, all, heldOut, budget } = result;
  const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
  say(
    wrap(
      `Loss in nats a token on ${count(heldOut.tokens)} unseen tokens, with its 95% margin; every training read ${count(budget)} tokens of ${dataset.name} (${count(all.rows)} rows, ${count(all.tokens)} tokens).`,
    ),
  );
  say(
    table([
      ['  of the data', 'rows', 'loss', 'each training'],
      ['  none', '', shown(base), ''],
      ...points.map(({ share, rows, loss, losses }) => [
        `  ${percent(share)}`,
        count(rows),
        shown(loss),
        losses.map((value) => value.toFixed(3)).join(', '),
      ]),
      ...forecast.map(({ share, rows, loss }) => [`  ${percent(share)}, forecast`, count(rows), shown(loss), '']),
    ]),
  );
  say(wrap(result.sentence, '  '));
}

export const curveCommand: Command = {
  name: 'curve',
  usage: 'PROJECT [--dataset D] [--model MODEL] [--minutes 10 | --tokens N]',
  summary: 'Enough data? Train on parts of it, and tell whether more would help',
  args: [1, 1],
  options: {
    dataset: { type: 'string' },
    model: { type: 'string' },
    minutes: { type: 'string' },
    tokens: { type: 'string' },
  },
  help: 'Five short trainings, on a quarter (twice), half (twice) and all of a slice, each on the same number of tokens and measured on the same unseen rows. Minutes choose that number and the slice.',
  async run(context) {
    const dataset = text(context, 'dataset');
    const { id } = await context.client.call('curves.start', { ...asked(context), ...(dataset && { dataset }) });
    await waitForSubject(context, 'curve', id);
    const curve = await context.client.call('curves.show', { curve: id });
    context.result(curve);
    describeCurve(context, curve);
  },
};
