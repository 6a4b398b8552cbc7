/** @file Child processes by Electron's utilityProcess, in the shape that the process host works with. */
import type { UtilityProcess } from 'electron';
import type { FromChild } from '../../workers/protocol.ts';
import type { Spawn } from '../../workers/process-host.ts';

type Utility = Pick<UtilityProcess, 'pid' | 'postMessage' | 'kill' | 'on' | 'stderr'>;

export const utilitySpawn =
  (fork: (file: string) => Utility): Spawn =>
  (file) => {
    const child = fork(file);
    return {
      // Known once the process was made; only people read it.
      pid: child.pid,
      send: (message) => child.postMessage(message),
      kill: () => void child.kill(),
      onMessage: (listener) => void child.on('message', (message: FromChild) => listener(message)),
      onError: (listener) => void child.stderr?.on('data', (chunk: Buffer) => listener(chunk.toString())),
      onExit: (listener) => void child.on('exit', (code: number) => listener(code, null)),
    };
  };
