/** @file What a test needs that a machine may lack. In CI a missing need fails the test, unless it stands in the list of allowed skips. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** Skips that are allowed even in CI, each with its reason. */
export const ALLOWED_SKIPS = {
  'electron-binary': 'Electron’s binary comes from outside the package registries and is not on every machine.',
  'shared-data':
    'Real data of others lie beside the checkout on some machines only; the same checks run on the sample project everywhere.',
} as const;

/** What must be there in CI, and how to get it elsewhere. */
const REQUIRED = {
  oracle: 'PyTorch, transformers, peft and onnxruntime-genai: .ci/run installs them into test/numerics/.venv.',
  'llama.cpp': 'node-llama-cpp: .ci/run installs it in test/numerics/llama-cpp.',
  'transformers.js': '@huggingface/transformers: .ci/run installs it in test/numerics/transformers-js.',
  openai: 'OpenAI’s client: .ci/run installs it in test/clients.',
  golang: 'Go: apt-get install golang-go.',
  starter: 'The starter model: `npm test` fetches it into test/.cache/home.',
  chromium: 'Debian’s chromium: apt-get install chromium.',
  swiftshader: 'A Vulkan driver in software: apt-get install libvulkan1 chromium.',
  lavapipe: 'Mesa’s Vulkan driver in software, version 25 or later: .ci/run installs it.',
} as const;

export type Need = keyof typeof ALLOWED_SKIPS | keyof typeof REQUIRED;

const VULKAN = ['/usr/lib/x86_64-linux-gnu/libvulkan.so.1', '/usr/lib/aarch64-linux-gnu/libvulkan.so.1'];

/** Manifests of Mesa's driver: it has 16-bit numbers, which SwiftShader has not, and from Vulkan 1.4 on all that WebGPU wants. */
const LAVAPIPE = ['lvp_icd.json', 'lvp_icd.x86_64.json', 'lvp_icd.aarch64.json'];

function lavapipe(): string | undefined {
  const paths = LAVAPIPE.map((name) => join('/usr/share/vulkan/icd.d', name));
  const recent = (path: string): boolean =>
    Number(/"api_version": *"1\.(\d+)/.exec(readFileSync(path, 'utf8'))?.[1]) >= 4;
  return paths.find((path) => existsSync(path) && recent(path));
}

const venv = join(root, 'test/numerics/.venv/bin/python');
export const found = {
  /** Python of the oracle's venv. */
  python: process.env.FETTLE_ORACLE_PYTHON ?? (existsSync(venv) ? venv : undefined),
  llamaCpp: existsSync(join(root, 'test/numerics/llama-cpp/node_modules/node-llama-cpp'))
    ? join(root, 'test/numerics/llama-cpp')
    : undefined,
  transformersJs: existsSync(join(root, 'test/numerics/transformers-js/node_modules/@huggingface/transformers'))
    ? join(root, 'test/numerics/transformers-js')
    : undefined,
  openai: existsSync(join(root, 'test/clients/node_modules/openai')) ? join(root, 'test/clients') : undefined,
  /** The starter model's GGUF file. */
  starter: [
    process.env.FETTLE_TEST_GGUF,
    join(root, 'test/.cache/home/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf'),
  ].find((path) => path !== undefined && existsSync(path)),
  go: ['/usr/bin/go', '/usr/local/go/bin/go'].find(existsSync),
  gsm8k: [resolve(root, '../shared/data/instruct/gsm8k-test.jsonl')].find(existsSync),
  /** Folder of real documents and instructions. */
  sharedData: [resolve(root, '../shared/data')].find(existsSync),
  chromium: [
    process.env.FETTLE_CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ].find((path) => path !== undefined && existsSync(path)),
  /** The manifest of the Vulkan driver that comes with Debian's chromium, or of a real device's; of no use without Vulkan's loader. */
  swiftshader: VULKAN.some(existsSync)
    ? [process.env.FETTLE_TEST_VULKAN, '/usr/lib/chromium/vk_swiftshader_icd.json'].find(
        (path) => path !== undefined && existsSync(path),
      )
    : undefined,
  /** The same of Mesa's driver. */
  lavapipe: VULKAN.some(existsSync) ? (process.env.FETTLE_TEST_VULKAN_HALVES ?? lavapipe()) : undefined,
};

/** Skips the test where `value` is missing; in CI that is a failure unless the skip is allowed. */
export function need<T>(test: { skip(note?: string): void }, what: Need, value: T | undefined): T {
  if (value !== undefined) return value;
  const reason =
    what in ALLOWED_SKIPS ? ALLOWED_SKIPS[what as keyof typeof ALLOWED_SKIPS] : REQUIRED[what as keyof typeof REQUIRED];
  if (process.env.CI && !(what in ALLOWED_SKIPS)) throw new Error(`${what} is missing. ${reason}`);
  test.skip(`${what}: ${reason}`);
  throw new Error('unreachable: skip throws');
}
