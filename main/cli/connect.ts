/** @file How a command reaches the API: through the host that holds the home, or by being that host for as long as it runs. */
import { join } from 'node:path';
import type { Client } from '../contract/api.ts';
import { FettleError } from '../contract/errors.ts';
import { attach, runningHost } from '../hosts/attach.ts';
import { createApp } from '../hosts/app.ts';
import { serveWeb } from '../hosts/web/server.ts';

export interface Connection {
  readonly client: Client;
  /** Rejects with HOST_UNREACHABLE when the host that the command is attached to goes away; else never settles. */
  readonly lost: Promise<never>;
  close(): Promise<void>;
}

/** @throws HOME_LOCKED, DATABASE_*, HOST_UNREACHABLE */
export async function connect(home: string, threads: number | undefined, signal: AbortSignal): Promise<Connection> {
  try {
    return (await attachTo(home)) ?? (await become(home, threads, signal));
  } catch (error) {
    // Another command became the host in between.
    const attached = error instanceof FettleError && error.code === 'HOME_LOCKED' ? await attachTo(home) : null;
    if (attached) return attached;
    throw error;
  }
}

async function attachTo(home: string): Promise<Connection | null> {
  const host = await runningHost(home);
  if (!host) return null;
  const attached = await attach(host);
  return { client: attached, lost: attached.lost, close: () => Promise.resolve(attached.close()) };
}

async function become(home: string, threads: number | undefined, signal: AbortSignal): Promise<Connection> {
  const app = createApp({ home, kind: 'command', threads });
  const web = await serveWeb(
    { dispatch: app.dispatch, events: app.core.events },
    { port: 0, token: app.token, renderer: null, uploads: join(app.core.home.temporary, 'uploads') },
  );
  app.announce(web.port);
  return {
    client: app.client,
    lost: new Promise<never>(() => undefined),
    async close() {
      // Other commands that came in meanwhile work through this one: it stays until they are done.
      if (web.clients() > 0 && !signal.aborted)
        process.stderr.write(
          'Another command works through this one; it stays until that is done. Ctrl-C ends both.\n',
        );
      await web.left(signal);
      await app.close();
      await web.close();
    },
  };
}
