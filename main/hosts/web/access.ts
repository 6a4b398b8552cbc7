/** @file Who may come in: only this machine, only our own page, only with the token. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Cookies are shared by all ports of a host, so each host has its own name. */
const cookieName = (port: number): string => `fettle-${port}`;

export const cookieFor = (token: string, port: number): string =>
  `${cookieName(port)}=${token}; HttpOnly; SameSite=Strict; Path=/`;

/** By the header that programs send; nothing else counts. */
export const bearer = (request: IncomingMessage, token: string): boolean => {
  const [, given] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '') ?? [];
  return given !== undefined && same(given, token);
};

/** By a bearer token (commands), the cookie (the workbench), or the address that was printed. */
export function authorised(request: IncomingMessage, token: string): boolean {
  const cookies = (request.headers.cookie ?? '').split(';').flatMap((cookie) => {
    const [name = '', value = ''] = cookie.trim().split('=', 2);
    return /^fettle-\d+$/.test(name) ? [value] : [];
  });
  const query = URL.parse(request.url ?? '/', 'http://localhost')?.searchParams.get('token');
  return bearer(request, token) || [...cookies, query].some((given) => typeof given === 'string' && same(given, token));
}

/** In the same time whatever is wrong with it. */
function same(given: string, token: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}

const names = (port: number): string[] => [`127.0.0.1:${port}`, `localhost:${port}`];

export const localHost = (request: IncomingMessage, port: number): boolean =>
  names(port).includes(request.headers.host ?? '');

/** Commands send no Origin; a page must be ours. */
export function localOrigin(request: IncomingMessage, port: number): boolean {
  const { origin } = request.headers;
  return origin === undefined || names(port).some((name) => origin === `http://${name}`);
}
