/** @file Which runtime and which Fettle compute: part of what decides a result's last digits. */
import { createRequire } from 'node:module';
import packageJson from '../../package.json' with { type: 'json' };

export const FETTLE_VERSION = packageJson.version;

/** Version of the onnxruntime-node package. */
export function runtimeVersion(): string {
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return version;
}
