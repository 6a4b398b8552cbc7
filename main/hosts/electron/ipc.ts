/** @file The bridge's other end: calls and subscriptions of the window's own page. */
import type { IpcMain, IpcMainEvent, IpcMainInvokeEvent, OpenDialogOptions } from 'electron';
import type { Reply, Topic } from '../../contract/api.ts';
import { ClientMessage } from '../../contract/wire.ts';
import type { Events } from '../../core/context.ts';
import { RENDERER_ORIGIN } from './scheme.ts';

export interface Reached {
  dispatch(name: string, input: unknown): Promise<Reply>;
  readonly events: Events;
}

/** Only the top frame of our own page may speak; a frame that was navigated away has another address. */
export function fromOurPage({ senderFrame }: Pick<IpcMainInvokeEvent, 'senderFrame'>): boolean {
  return senderFrame !== null && senderFrame.parent === null && senderFrame.url.startsWith(`${RENDERER_ORIGIN}/`);
}

const REFUSED: Reply = {
  ok: false,
  error: { code: 'UNAUTHORISED', message: 'That did not come from Fettle’s own page.' },
};

export function connectWindow(ipc: Pick<IpcMain, 'handle' | 'on'>, { dispatch, events }: Reached): void {
  ipc.handle('fettle:call', (event, message: unknown) => {
    const parsed = ClientMessage.safeParse(message);
    if (!fromOurPage(event) || !parsed.success || !('call' in parsed.data)) return REFUSED;
    return dispatch(parsed.data.call.name, parsed.data.call.input);
  });

  const subscriptions = new Map<string, () => void>();
  const stop = (key: string): void => {
    subscriptions.get(key)?.();
    subscriptions.delete(key);
  };
  ipc.on('fettle:subscription', (event: IpcMainEvent, message: unknown) => {
    const parsed = ClientMessage.safeParse(message);
    if (!fromOurPage(event) || !parsed.success || 'call' in parsed.data) return;
    const { sender } = event;
    const key = `${sender.id}/${parsed.data.id}`;
    stop(key);
    if (!('subscribe' in parsed.data)) return;
    const { id, subscribe } = parsed.data;
    const tell = (seq: number, told: unknown): void => {
      if (sender.isDestroyed()) stop(key);
      else sender.send('fettle:event', { id, event: { seq, event: told } });
    };
    subscriptions.set(key, events.subscribe(subscribe.topic as Topic, subscribe.after, tell));
  });
}

/** What the system's dialog offers for a purpose. */
export function pickOptions(purpose: unknown): OpenDialogOptions {
  if (purpose === 'model')
    return {
      title: 'Choose a GGUF file, or the folder of a Hugging Face model',
      properties: ['openFile', 'openDirectory'],
    };
  if (purpose === 'folder') return { title: 'Choose a folder', properties: ['openDirectory', 'createDirectory'] };
  return { title: 'Choose data', properties: ['openFile', 'multiSelections'] };
}
