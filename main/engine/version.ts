/** @file Which runtime computes: part of what decides a result's last digits. */
import { createRequire } from 'node:module';

/** Version of the onnxruntime-node package. */
export function runtimeVersion(): string {
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return version;
}
