/** @file Addresses of pages: what stands after the # and back. Every page can be reloaded and linked to. */
export const STEPS = ['goal', 'data', 'model', 'tune', 'compare', 'export'] as const;
export type Step = (typeof STEPS)[number];

export type Route =
  | { readonly page: 'projects' | 'models' | 'jobs' | 'doctor' | 'settings' }
  | { readonly page: Exclude<Step, 'export'>; readonly project: string }
  /** A conversation, a blind test, or what is handed over (`run`, `run@checkpoint`); without one, the newest or none. */
  | { readonly page: 'try' | 'blind' | 'export'; readonly project: string; readonly id?: string }
  | { readonly page: 'run'; readonly project: string; readonly run: string };
export type PageName = Route['page'];

const isStep = (text: string | undefined): text is Step => STEPS.some((step) => step === text);

/** The step of the path that a page belongs to. */
export function stepOf(page: PageName): Step | null {
  if (page === 'run') return 'tune';
  if (page === 'try' || page === 'blind') return 'compare';
  return isStep(page) ? page : null;
}

/** "#/p/letters/tune" and its like; what is not known is the list of projects. */
export function parseRoute(hash: string): Route {
  const [first, project, page, id] = hash
    .replace(/^#?\/?/, '')
    .split('/')
    .map(decode);
  if (first === 'p' && project) {
    if (page === 'run' && id) return { page, project, run: id };
    if (page === 'try' || page === 'blind' || page === 'export') return { page, project, ...(id ? { id } : {}) };
    return { page: isStep(page) ? page : 'goal', project };
  }
  if (first === 'models' || first === 'jobs' || first === 'doctor' || first === 'settings') return { page: first };
  return { page: 'projects' };
}

export function href(route: Route): string {
  if (!('project' in route)) return route.page === 'projects' ? '#/' : `#/${route.page}`;
  const at = `#/p/${encodeURIComponent(route.project)}/${route.page}`;
  const id = route.page === 'run' ? route.run : 'id' in route ? route.id : undefined;
  return id === undefined ? at : `${at}/${encodeURIComponent(id)}`;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
