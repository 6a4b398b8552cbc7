/** @file fettle doctor: what works on this machine. */
import type { Command } from '../command.ts';
import { table } from '../format.ts';

export const doctorCommand: Command = {
  name: 'doctor',
  usage: '',
  summary: 'What works on this machine, what is missing and how to get it',
  args: [0, 0],
  async run(context) {
    const report = await context.client.call('app.doctor', {});
    context.result(report);
    context.say(table(report.checks.map(({ name, ok, found, hint }) => [ok ? '✓' : '✗', name, found, hint ?? ''])));
    context.say(
      `\n${Object.entries(report.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', ')}`,
    );
  },
};
