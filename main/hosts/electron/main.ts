/** @file The desktop shell: a window on the same app and the same workbench as everywhere. No logic of its own. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { app, BrowserWindow, dialog, ipcMain, net, protocol, session, utilityProcess } from 'electron';
import { toFettleError } from '../../contract/errors.ts';
import { defaultHome } from '../../core/home.ts';
import { createApp, type App } from '../app.ts';
import { runningHost } from '../attach.ts';
import { childEnv } from '../../workers/process-host.ts';
import { SECURITY_HEADERS } from '../policy.ts';
import { serveWeb, type WebHost } from '../web/server.ts';
import { connectWindow, fromOurPage, pickOptions } from './ipc.ts';
import { resolveRequest, RENDERER_ORIGIN, SCHEME } from './scheme.ts';
import { utilitySpawn } from './spawn.ts';

/** Of the built shell, dist/electron: the workbench lies beside it. */
const here = import.meta.dirname;
const renderer = join(here, '..', 'renderer');

protocol.registerSchemesAsPrivileged([
  { scheme: SCHEME, privileges: { standard: true, secure: true, supportFetchAPI: true } },
]);

function openWindow(): BrowserWindow {
  const window = new BrowserWindow({
    width: 1280,
    height: 860,
    minWidth: 900,
    minHeight: 600,
    show: false,
    webPreferences: {
      preload: join(here, 'preload.cjs'),
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
      webSecurity: true,
    },
  });
  window.once('ready-to-show', () => window.show());
  window.webContents.setWindowOpenHandler(() => ({ action: 'deny' }));
  window.webContents.on('will-navigate', (event) => event.preventDefault());
  window.webContents.on('will-attach-webview', (event) => event.preventDefault());
  void window.loadURL(`${RENDERER_ORIGIN}/index.html`);
  return window;
}

async function begin(): Promise<void> {
  let fettle: App;
  let web: WebHost;
  try {
    // One that is just closing gives the home free.
    await runningHost(defaultHome());
    const packaged = join(process.resourcesPath, 'resources');
    if (app.isPackaged && existsSync(packaged)) process.env['FETTLE_RESOURCES'] = packaged;
    fettle = createApp({
      home: defaultHome(),
      kind: 'electron',
      workers: {
        spawn: utilitySpawn((file) =>
          utilityProcess.fork(file, [], {
            stdio: ['ignore', 'ignore', 'pipe'],
            serviceName: 'Fettle worker',
            env: childEnv(process.env),
          }),
        ),
        entry: (name) => join(here, 'workers', `${name}.js`),
      },
    });
    // Commands in a terminal reach the window's home through the window.
    web = await serveWeb(
      { dispatch: fettle.dispatch, events: fettle.core.events },
      { port: 0, token: fettle.token, renderer: null, uploads: join(fettle.core.home.temporary, 'uploads') },
    );
    fettle.announce(web.port);
  } catch (error) {
    const { message, hint } = toFettleError(error);
    dialog.showErrorBox('Fettle cannot start', `${message}\n\n${hint ?? ''}`);
    app.exit(1);
    return;
  }
  protocol.handle(SCHEME, async (request) => {
    const file = await resolveRequest(renderer, request.url);
    if (file === null) return new Response('There is no such file.', { status: 404 });
    const found = await net.fetch(file);
    const headers = new Headers(found.headers);
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) headers.set(name, value);
    return new Response(found.body, { status: found.status, headers });
  });
  session.defaultSession.setPermissionRequestHandler((_, __, callback) => callback(false));
  session.defaultSession.setPermissionCheckHandler(() => false);
  connectWindow(ipcMain, { dispatch: fettle.dispatch, events: fettle.core.events });
  ipcMain.handle('fettle:pick', async (event, purpose: unknown) => {
    if (!fromOurPage(event)) return [];
    const window = BrowserWindow.fromWebContents(event.sender);
    if (!window) return [];
    return (await dialog.showOpenDialog(window, pickOptions(purpose))).filePaths;
  });
  let closed = false;
  app.on('before-quit', (event) => {
    if (closed) return;
    event.preventDefault();
    // A run at work writes a checkpoint first.
    void fettle
      .close()
      .then(() => web.close())
      .finally(() => {
        closed = true;
        app.quit();
      });
  });
  openWindow();
  app.on('activate', () => BrowserWindow.getAllWindows().length === 0 && openWindow());
}

if (!app.requestSingleInstanceLock()) app.quit();
else {
  app.on('second-instance', () => BrowserWindow.getAllWindows()[0]?.focus());
  app.on('window-all-closed', () => process.platform !== 'darwin' && app.quit());
  void app.whenReady().then(begin);
}
