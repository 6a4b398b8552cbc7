/** @file Where the starter model is fetched from: whole or not at all, pinned by checksum, gone on with where it stopped. */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HUB, hubSource, packageSource, type PinnedFile } from './starter-sources.ts';

const content: Record<string, Buffer> = {
  'config.json': Buffer.from('{"a":1}'),
  'model.safetensors': Buffer.alloc(300_000, 7),
};
const pinned: PinnedFile[] = Object.entries(content).map(([name, data]) => ({
  name,
  bytes: data.length,
  sha256: createHash('sha256').update(data).digest('hex'),
}));

let folder: string;
let server: Server;
let endpoint: string;
let requests: { url: string; range: string | undefined }[];
let answer: (name: string, data: Buffer) => Buffer | number | 'cut';

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fettle-starter-'));
  requests = [];
  answer = (_, data) => data;
  server = createServer((request, response) => {
    requests.push({ url: request.url ?? '', range: request.headers.range });
    const name = request.url!.split('/').at(-1)!;
    const given = answer(name, content[name]!);
    if (typeof given === 'number') return void response.writeHead(given).end();
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const body = (given === 'cut' ? content[name]! : given).subarray(from);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': body.length });
    if (given === 'cut') response.write(body.subarray(0, 100_000), () => response.destroy());
    else response.end(body);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const fetchAll = (shares: number[] = []): Promise<string> =>
  hubSource(endpoint, pinned).fetch(folder, (_, share) => shares.push(share ?? -1), new AbortController().signal);

describe('the hub as a source of the starter model', () => {
  it('fetches every file at the pinned revision, with progress', async () => {
    const shares: number[] = [];
    await fetchAll(shares);
    expect(requests.map(({ url }) => url)).toEqual(
      pinned.map(({ name }) => `/${HUB.repository}/resolve/${HUB.revision}/${name}`),
    );
    expect(readFileSync(join(folder, 'model.safetensors')).equals(content['model.safetensors']!)).toBe(true);
    expect(shares.at(-1)).toBe(1);
    expect(shares.every((share, i) => i === 0 || share >= shares[i - 1]!)).toBe(true);
  });

  it('goes on where an earlier try stopped', async () => {
    writeFileSync(join(folder, 'model.safetensors.part'), content['model.safetensors']!.subarray(0, 120_000));
    await fetchAll();
    expect(requests.at(-1)!.range).toBe('bytes=120000-');
    expect(readFileSync(join(folder, 'model.safetensors')).equals(content['model.safetensors']!)).toBe(true);
  });

  it('takes up a connection that broke in the middle', async () => {
    let broken = 0;
    answer = (name, data) => (name === 'model.safetensors' && broken++ === 0 ? 'cut' : data);
    await fetchAll();
    expect(requests.filter(({ url }) => url.endsWith('model.safetensors')).length).toBe(2);
  });

  it('throws away a file with a wrong checksum', async () => {
    answer = (name, data) => (name === 'model.safetensors' ? Buffer.alloc(data.length, 8) : data);
    await expect(fetchAll()).rejects.toMatchObject({
      code: 'FORMAT_INVALID',
      message: expect.stringContaining('checksum'),
    });
    expect(existsSync(join(folder, 'model.safetensors'))).toBe(false);
  });

  it('refuses a file that is longer than was pinned', async () => {
    answer = (_, data) => Buffer.concat([data, data]);
    await expect(fetchAll()).rejects.toMatchObject({ code: 'FORMAT_INVALID' });
  });

  it('says what the hub answered', async () => {
    answer = () => 404;
    await expect(fetchAll()).rejects.toMatchObject({
      code: 'MODEL_UNAVAILABLE',
      message: expect.stringContaining('404'),
    });
  });
});

describe('the Python package as a source of the starter model', () => {
  it('fails in words where there is no Python', async () => {
    await expect(
      packageSource('/no/such/python').fetch(folder, () => undefined, new AbortController().signal),
    ).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  });
});
