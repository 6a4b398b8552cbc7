/** @file app://fettle: the workbench's files and nothing else, under an origin of their own. */
import { extname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inside } from '../web/files.ts';

export const SCHEME = 'app';
export const RENDERER_ORIGIN = `${SCHEME}://fettle`;

/** The file:// address behind a request; null for another host or a path that leads out of the folder. */
export async function resolveRequest(folder: string, address: string): Promise<string | null> {
  const url = new URL(address);
  if (url.host !== 'fettle') return null;
  const file = await inside(folder, extname(url.pathname) === '' ? '/index.html' : url.pathname);
  return file && pathToFileURL(file).href;
}
