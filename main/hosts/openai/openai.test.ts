/** @file The local address: off by default, for those who know its token, and understood by OpenAI's own client. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as ask } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import { found, need } from '../../../test/support/needs.ts';
import type { Endpoint } from '../../contract/entities.ts';
import { createApp, type App } from '../app.ts';

const folder = mkdtempSync(join(tmpdir(), 'fettle-openai-'));
let app: App;
let open: Endpoint;
beforeAll(async () => {
  app = createApp({ home: join(folder, 'home'), kind: 'command', threads: 1 });
  const path = await writeTinyModel(join(folder, 'tiny'));
  await app.core.jobs.settled((await app.client.call('models.add', { path, name: 'tiny' })).id);
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Reply {
  readonly status: number;
  readonly body: string;
}
/** A request with headers that fetch would not let through. */
const send = (path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const sent = ask(
      `${open.address}${path}`,
      {
        agent: false,
        method: body === undefined ? 'GET' : 'POST',
        headers: { authorization: `Bearer ${open.token}`, 'content-type': 'application/json', ...headers },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      },
    );
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
  });
const chat = (more: object): Promise<Reply> =>
  send('/chat/completions', { model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 6, ...more });
const errorOf = ({ body }: Reply): { code: string | null; param: string | null; message: string } =>
  (JSON.parse(body) as { error: { code: string; param: string; message: string } }).error;

describe('the local address', () => {
  it('is off until somebody turns it on, and then has a token of its own', async () => {
    expect(await app.client.call('endpoint.show', {})).toMatchObject({ on: false, address: null, token: null });
    open = await app.client.call('endpoint.start', { targets: ['tiny'] });
    expect(open).toMatchObject({ on: true, models: [{ id: 'tiny' }], requests: 0, lastUsedAt: null });
    expect(open.address).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    expect(open.token).toMatch(/^fettle-[\w-]{32}$/);
    expect(open.token).not.toContain(app.token);
    await expect(app.client.call('endpoint.start', { targets: ['none'] })).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
    });
  });

  it('lets nobody in without the token, from another page, or by another name', async () => {
    expect(await send('/models', undefined, { authorization: 'Bearer wrong' })).toMatchObject({ status: 401 });
    expect(errorOf(await send('/models', undefined, { authorization: '' })).code).toBe('invalid_api_key');
    expect(await send(`/models?token=${open.token}`, undefined, { authorization: '' })).toMatchObject({ status: 401 });
    expect(await send('/models', undefined, { origin: 'http://evil.example' })).toMatchObject({ status: 403 });
    expect(await send('/models', undefined, { host: 'evil.example' })).toMatchObject({ status: 421 });
    // The workbench's token is for the workbench.
    expect(await send('/models', undefined, { authorization: `Bearer ${app.token}` })).toMatchObject({ status: 401 });
    expect((await app.client.call('endpoint.show', {})).requests).toBe(0);
  });

  it('is understood by OpenAI’s client: models, whole and streamed answers, usage, errors', async (test) => {
    const clients = need(test, 'openai', found.openai);
    const { stdout } = await promisify(execFile)(process.execPath, [
      join(clients, 'openai.mjs'),
      open.address!,
      open.token!,
      'tiny',
    ]);
    const heard = JSON.parse(stdout) as {
      whole: { text: string; usage: object };
      streamed: object;
      text: string;
      streamedText: string;
    };
    expect(heard).toMatchObject({
      models: ['tiny'],
      whole: { finish: 'length', usage: { completion_tokens: 8 } },
      missing: { name: 'NotFoundError', status: 404, code: 'model_not_found', param: 'model' },
      wrongKey: { name: 'AuthenticationError', status: 401, code: 'invalid_api_key' },
    });
    // The same seed says the same, however it is sent.
    expect(heard.streamed).toEqual(heard.whole);
    expect(heard.streamedText).toBe(heard.text);
    const { usage } = heard.whole as { usage: Record<string, number> };
    expect(usage['total_tokens']).toBe(usage['prompt_tokens']! + 8);
    expect(await app.client.call('endpoint.show', {})).toMatchObject({
      requests: expect.any(Number) as unknown,
      lastUsedAt: expect.any(String) as unknown,
    });
  });

  it('ends at a stop text and draws by the seed', async () => {
    const said = async (more: object): Promise<string> => {
      const { body } = await chat(more);
      const { choices } = JSON.parse(body) as { choices: { message: { content: string }; finish_reason: string }[] };
      return `${choices[0]!.message.content}|${choices[0]!.finish_reason}`;
    };
    const drawn = { temperature: 1.5, max_tokens: 12 };
    expect(await said({ ...drawn, seed: 5 })).toBe(await said({ ...drawn, seed: 5 }));
    expect(await said({ ...drawn, seed: 5 })).not.toBe(await said({ ...drawn, seed: 6 }));
    const whole = (await said({})).split('|')[0]!;
    expect(await said({ stop: [whole.slice(2, 4)] })).toBe(`${whole.slice(0, whole.indexOf(whole.slice(2, 4)))}|stop`);
  });

  it.each([
    ['what is no JSON', '{', null, 400],
    ['no messages', { model: 'tiny', messages: [] }, null, 400],
    ['tools', { tools: [{ type: 'function' }] }, 'unsupported_parameter', 400],
    ['several answers', { n: 2 }, 'unsupported_parameter', 400],
    ['a wrong figure', { temperature: 9 }, null, 400],
    ['more than it reads', { messages: [{ role: 'user', content: 'x'.repeat(600) }] }, 'context_length_exceeded', 400],
  ] as const)('refuses %s in OpenAI’s form', async (_, body, code, status) => {
    const reply = typeof body === 'string' ? await send('/chat/completions', body) : await chat(body);
    expect(reply.status).toBe(status);
    expect(errorOf(reply)).toMatchObject({ code, message: expect.any(String) as unknown });
    expect(await send('/none')).toMatchObject({ status: 404 });
    expect(await send('/models/%E0%A4%A')).toMatchObject({ status: 400 });
    expect(await send('/models/t%69ny')).toMatchObject({ status: 200 });
  });

  it('says an error in a stream before it began as a status, and lets go of who leaves', async () => {
    expect(await chat({ stream: true, messages: [{ role: 'user', content: 'x'.repeat(600) }] })).toMatchObject({
      status: 400,
    });
    const leaving = ask(`${open.address}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${open.token}` },
    });
    leaving.on('error', () => undefined);
    leaving.end(
      JSON.stringify({
        model: 'tiny',
        stream: true,
        max_tokens: 400,
        temperature: 1,
        messages: [{ role: 'user', content: 'Hello' }],
      }),
    );
    leaving.on('response', (response) => response.once('data', () => leaving.destroy()));
    await new Promise((resolve) => leaving.on('close', resolve));
    expect(await chat({})).toMatchObject({ status: 200 });
  });

  it('takes a new token at once, and closes', async () => {
    const before = open;
    open = await app.client.call('endpoint.renew', {});
    expect(open.address).toBe(before.address);
    expect(await send('/models', undefined, { authorization: `Bearer ${before.token}` })).toMatchObject({
      status: 401,
    });
    expect(await send('/models')).toMatchObject({ status: 200 });
    expect(await app.client.call('endpoint.stop', {})).toMatchObject({ on: false, token: null, models: [] });
    await expect(send('/models')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});
