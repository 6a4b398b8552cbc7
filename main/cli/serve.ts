/** @file fettle serve: the workbench in a browser. It is the host itself, so it takes no connection. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FettleError } from '../contract/errors.ts';
import { createApp } from '../hosts/app.ts';
import { runningHost } from '../hosts/attach.ts';
import { serveWeb } from '../hosts/web/server.ts';

export interface ServeOptions {
  readonly home: string;
  readonly port: number;
  readonly open: boolean;
  readonly threads: number | undefined;
  readonly json: boolean;
  readonly signal: AbortSignal;
}

const renderer = fileURLToPath(new URL('../../dist/renderer', import.meta.url));

/** Until Ctrl-C. @throws HOME_LOCKED, PORT_IN_USE, FILE_NOT_FOUND where the workbench was not built. */
export async function serve({ home, port, open, threads, json, signal }: ServeOptions): Promise<void> {
  if (!existsSync(join(renderer, 'index.html')))
    throw new FettleError(
      'FILE_NOT_FOUND',
      'The workbench is not built yet.',
      'Run `npm start`, or `npm run build` first.',
    );
  await runningHost(home);
  const app = createApp({ home, kind: 'web', threads });
  try {
    const uploads = join(app.core.home.temporary, 'uploads');
    const web = await serveWeb(
      { dispatch: app.dispatch, events: app.core.events },
      { port, token: app.token, renderer, uploads },
    );
    app.announce(web.port);
    process.stdout.write(
      json
        ? `${JSON.stringify({ url: web.url, port: web.port })}\n`
        : `The workbench is at\n  ${web.url}\nCtrl-C ends it; a run at work is paused and can go on later.\n`,
    );
    if (open) openBrowser(web.url);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve());
    });
    // The server stays up meanwhile: it tells the pages how the run was paused.
    await app.close();
    await web.close();
  } finally {
    await app.close();
  }
}

/** Where there is no browser to open, the address that was printed is enough. */
function openBrowser(url: string): void {
  const [command, args] =
    process.platform === 'darwin'
      ? ['open', [url]]
      : process.platform === 'win32'
        ? ['cmd', ['/c', 'start', '', url]]
        : ['xdg-open', [url]];
  spawn(command, args, { stdio: 'ignore', detached: true })
    .on('error', () => undefined)
    .unref();
}
