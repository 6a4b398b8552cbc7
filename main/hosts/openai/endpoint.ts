/** @file The switch of the local address for other programs: off until somebody turns it on, with a token made anew by chance. */
import { randomBytes } from 'node:crypto';
import type { ParsedInputOf } from '../../contract/api.ts';
import type { Endpoint } from '../../contract/entities.ts';
import { FettleError } from '../../contract/errors.ts';
import type { Core } from '../../core/context.ts';
import type { Handlers } from '../../core/router.ts';
import type { Talk } from '../../talk/index.ts';
import { serveOpenAi, type OpenAiServer } from './server.ts';

export interface EndpointService {
  readonly handlers: Handlers<'endpoint.show' | 'endpoint.start' | 'endpoint.renew' | 'endpoint.stop'>;
  close(): Promise<void>;
}

/** Taken where it is free and no other was asked for, so that other programs can keep the address. */
const USUAL_PORT = 8642;

export function createEndpoint(core: Core, talk: Talk): EndpointService {
  let server: OpenAiServer | undefined;
  let token = '';
  let models: readonly { readonly id: string; readonly label: string }[] = [];
  let requests = 0;
  let lastUsedAt: string | null = null;

  /** Opening and closing one after the other: two at once would leave an address that nobody closes. */
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  };

  const show = (): Endpoint => ({
    on: server !== undefined,
    address: server ? `http://127.0.0.1:${server.port}/v1` : null,
    token: server ? token : null,
    models: [...models],
    requests,
    lastUsedAt,
  });
  const changed = (): Endpoint => {
    core.events.changed('endpoint', 'endpoint', null);
    return show();
  };
  const renew = (): void => void (token = `fettle-${randomBytes(24).toString('base64url')}`);

  const open = (port: number): Promise<OpenAiServer> =>
    serveOpenAi(
      {
        models: () => models.map(({ id }) => id),
        resolve: talk.resolve,
        ask: talk.generation.ask,
        token: () => token,
        used() {
          requests++;
          lastUsedAt = core.clock.now();
          changed();
        },
      },
      port,
    );

  async function start({ targets, port }: ParsedInputOf<'endpoint.start'>): Promise<Endpoint> {
    const named = [...new Set(targets)].map((id) => ({ id, label: talk.resolve(id).label }));
    if (server && port !== 0 && port !== server.port) await stop();
    if (!server) {
      renew();
      [requests, lastUsedAt] = [0, null];
      server = port === 0 ? await open(USUAL_PORT).catch(whereTaken(() => open(0))) : await open(port);
    }
    models = named;
    return changed();
  }
  async function stop(): Promise<Endpoint> {
    const closing = server;
    server = undefined;
    models = [];
    await closing?.close();
    return changed();
  }

  return {
    handlers: {
      'endpoint.show': show,
      'endpoint.start': (input) => inTurn(() => start(input)),
      'endpoint.renew': () => {
        if (!server) throw new FettleError('INPUT_INVALID', 'The local address is off.', 'Turn it on first.');
        renew();
        return changed();
      },
      'endpoint.stop': () => inTurn(stop),
    },
    close: () => inTurn(async () => void (await server?.close())),
  };
}

const whereTaken =
  <T>(otherwise: () => Promise<T>) =>
  (error: unknown): Promise<T> => {
    if (error instanceof FettleError && error.code === 'PORT_IN_USE') return otherwise();
    throw error;
  };
