/** @file The bridge into Electron's window: window.fettle, as the contract describes it, and nothing more. */
import { contextBridge, ipcRenderer, webUtils } from 'electron';
import type { ClientMessage, FettleBridge, HostMessage } from '../main/contract/wire.ts';

let last = 0;
const listeners = new Map<number, (seq: number, event: unknown) => void>();
ipcRenderer.on('fettle:event', (_, message: HostMessage) => {
  if ('event' in message) listeners.get(message.id)?.(message.event.seq, message.event.event);
});
const tell = (message: ClientMessage): void => ipcRenderer.send('fettle:subscription', message);

const bridge: FettleBridge = {
  call: (name, input) => ipcRenderer.invoke('fettle:call', { id: 0, call: { name, input } }),
  subscribe(topic, after, listener) {
    const id = ++last;
    listeners.set(id, listener);
    tell({ id, subscribe: { topic, after } });
    return () => {
      listeners.delete(id);
      tell({ id, unsubscribe: true });
    };
  },
  pickFiles: (purpose) => ipcRenderer.invoke('fettle:pick', purpose),
  pathOf: (file) => webUtils.getPathForFile(file),
};
contextBridge.exposeInMainWorld('fettle', bridge);
