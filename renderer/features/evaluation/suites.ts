/** @file The suites in plain words. */
import type { SuiteName } from '../../../main/contract/entities.ts';

export const SUITES: Readonly<Record<SuiteName, { readonly name: string; readonly says: string }>> = {
  'held-out': { name: 'Loss on unseen rows', says: 'of this project; half a minute a model' },
  task: { name: 'Unseen questions', says: 'answered by each and judged; some seconds a question' },
  general: { name: 'General skills', says: '504 questions over 14 skills; some minutes a model' },
  prose: { name: 'Other text', says: 'loss on text of eight kinds; half a minute a model' },
};
