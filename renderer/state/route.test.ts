/** @file A link that leads elsewhere than it says. */
import { describe, expect, it } from 'vitest';
import { href, parseRoute, type Route } from './route.ts';

describe('addresses', () => {
  it('lead back to the page they were made for', () => {
    const routes: Route[] = [
      { page: 'projects' },
      { page: 'doctor' },
      { page: 'tune', project: 'referral-letters' },
      { page: 'try', project: 'letters' },
      { page: 'try', project: 'letters', id: 'letters-chat-2' },
      { page: 'blind', project: 'letters', id: 'letters-blind-1' },
      { page: 'export', project: 'letters' },
      { page: 'export', project: 'letters', id: 'letters-1@step-000012' },
      { page: 'run', project: 'a b/ü', run: 'a b/ü-4' },
    ];
    for (const route of routes) expect(parseRoute(href(route))).toEqual(route);
  });
  it('fall back to what is there', () => {
    expect(parseRoute('')).toEqual({ page: 'projects' });
    expect(parseRoute('#/nowhere')).toEqual({ page: 'projects' });
    expect(parseRoute('#/p/letters/nowhere')).toEqual({ page: 'goal', project: 'letters' });
    expect(parseRoute('#/p/%E0%A4%A/data')).toEqual({ page: 'data', project: '%E0%A4%A' });
  });
});
