/** @file fettle doctor: what works on this machine. */
import type { Command } from '../command.ts';
import { bytes, table } from '../format.ts';

export const doctorCommand: Command = {
  name: 'doctor',
  usage: '',
  summary: 'What works on this machine, what is missing and how to get it',
  args: [0, 0],
  async run(context) {
    const report = await context.client.call('app.doctor', {});
    context.result(report);
    context.say(table(report.checks.map(({ name, ok, found, hint }) => [ok ? '✓' : '✗', name, found, hint ?? ''])));
    context.say('\nA run can train on');
    context.say(
      table(
        report.devices.map(({ device, name, memoryBytes, fp32, real }) => [
          device,
          name,
          memoryBytes === null ? 'memory unknown' : bytes(memoryBytes),
          fp32 === null ? 'not measured' : `fp32 ${fp32.toFixed(fp32 < 10 ? 1 : 0)} billion operations a second`,
          real ? '' : 'a program that acts as a graphics processor: only where it is asked for',
        ]),
      ),
    );
    context.say(
      `\n${Object.entries(report.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', ')}`,
    );
  },
};
