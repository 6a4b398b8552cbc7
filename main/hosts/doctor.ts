/** @file What works on this machine and what does not, with what to do about it. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { bytes as inWords } from '../contract/bytes.ts';
import type { DeviceFound, DoctorReport, Machine } from '../contract/entities.ts';
import type { Core } from '../core/context.ts';
import { runtimeVersion } from '../engine/version.ts';
import { isSoftware } from '../core/graphics.ts';
import type { Speeds } from '../engine/quantise/kernels.ts';
import { isWorthIt, type Devices, type Graphics } from '../recipes/devices.ts';
import { settledPrecision, type MeasuredSpeeds } from '../recipes/speeds.ts';
import { describeMachine } from './machine.ts';

type Check = DoctorReport['checks'][number];
const GIGABYTE = 1e9;

export async function doctor(core: Core, measured: MeasuredSpeeds, devices: Devices): Promise<DoctorReport> {
  // One after the other, for each would slow the other down.
  const speeds = await measured(true);
  const graphics = await devices.graphics(true);
  const machine = await describeMachine(core);
  const { db, home } = core;
  const database = db.prepare<[], { version: string }>('SELECT sqlite_version() AS version').get()?.version ?? '';
  const models = db.prepare<[], { n: number }>('SELECT count(*) AS n FROM model').get()?.n ?? 0;
  const writable = await access(home.root, constants.W_OK).then(
    () => true,
    () => false,
  );
  const check = (name: string, ok: boolean, found: string, hint: string): Check => ({
    name,
    ok,
    found,
    hint: ok ? null : hint,
  });
  return {
    versions: {
      fettle: core.version,
      node: process.versions.node,
      'onnxruntime-node': runtimeVersion(),
      sqlite: database,
    },
    machine,
    devices: devicesOf(machine, speeds, graphics),
    checks: [
      check(
        'Home folder',
        writable,
        home.root,
        'Give yourself the right to write there, or choose another with --home.',
      ),
      check(
        'Database',
        db.pragma('quick_check', { simple: true }) === 'ok',
        `SQLite ${database}`,
        'Close Fettle and put a copy of fettle.sqlite back.',
      ),
      check(
        'Memory',
        machine.freeMemoryBytes > 2 * GIGABYTE,
        `${inWords(machine.freeMemoryBytes)} free of ${inWords(machine.memoryBytes)}`,
        'The starter model takes about 2 GB: close other programs.',
      ),
      check(
        'Disk',
        machine.diskFreeBytes > 2 * GIGABYTE,
        `${inWords(machine.diskFreeBytes)} free`,
        'Models and checkpoints need room: free some, or choose another home with --home.',
      ),
      check('Processor', true, `${machine.cpu}, ${machine.cores} cores, ${machine.threads} used for training`, ''),
      check(
        'Speed of products',
        speeds !== null,
        speeds
          ? `fp32 ${speeds.fp32.toFixed(0)}, int8 ${speeds.int8.toFixed(0)} billion operations a second: ${settledPrecision('auto', speeds)} is the faster way to train here`
          : 'could not be measured',
        'Training runs in fp32; see the log in the home folder for what went wrong.',
      ),
      check('Graphics processor', true, graphicsInWords(graphics, speeds), ''),
      check(
        'Base models',
        models > 0,
        `${models} in the library`,
        '`fettle model starter` fetches the starter model; `fettle model add PATH` adds one that you have.',
      ),
    ],
  };
}

/** What a run can be trained on: the processor, and a graphics processor where one works. */
function devicesOf(machine: Machine, speeds: Speeds | null, { name, fp32, memoryBytes }: Graphics): DeviceFound[] {
  const processor: DeviceFound = {
    device: 'cpu',
    name: machine.cpu,
    memoryBytes: machine.memoryBytes,
    fp32: speeds?.fp32 ?? null,
    real: true,
  };
  if (fp32 === null) return [processor];
  const called = name ?? 'a graphics processor that does not tell its name';
  return [processor, { device: 'webgpu', name: called, memoryBytes, fp32, real: !(name !== null && isSoftware(name)) }];
}

function graphicsInWords(graphics: Graphics, speeds: Speeds | null): string {
  const { name, fp32, halves, memoryBytes, why } = graphics;
  if (fp32 === null) return `Not used: ${why}`;
  const called = name ?? 'One that does not tell its name';
  const memory = memoryBytes === null ? 'nobody tells how much memory' : inWords(memoryBytes);
  const use = isWorthIt(graphics, speeds)
    ? `plain adapters are trained on it, on a model in fp32${halves ? ' or fp16' : ''}`
    : name !== null && isSoftware(name)
      ? 'it is a program that acts as one, so that it is used only where a recipe asks for it (device webgpu)'
      : 'not faster, so that it is used only where a recipe asks for it (device webgpu)';
  return `${called}, ${memory}, fp32 ${fp32.toFixed(fp32 < 10 ? 1 : 0)} billion operations a second: ${use}`;
}
