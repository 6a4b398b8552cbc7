/** @file What works on this machine and what does not, with what to do about it. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { bytes as inWords } from '../contract/bytes.ts';
import type { DoctorReport } from '../contract/entities.ts';
import type { Core } from '../core/context.ts';
import { runtimeVersion } from '../engine/version.ts';
import { settledPrecision, type MeasuredSpeeds } from '../recipes/speeds.ts';
import { describeMachine } from './machine.ts';

type Check = DoctorReport['checks'][number];
const GIGABYTE = 1e9;

export async function doctor(core: Core, measured: MeasuredSpeeds): Promise<DoctorReport> {
  const speeds = await measured(true);
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
      check('Graphics processor', true, 'Not used: this version trains on the processor', ''),
      check(
        'Base models',
        models > 0,
        `${models} in the library`,
        '`fettle model starter` fetches the starter model; `fettle model add PATH` adds one that you have.',
      ),
    ],
  };
}
