/** @file Which rows are opened: those that carry a mark, or are longer than so many tokens of a model. */
import type { Mark } from '../../../main/contract/entities.ts';
import { count } from '../../ui/format.ts';

export type RowFilter =
  { readonly mark: Mark } | { readonly longerThan: { readonly model: string; readonly tokens: number } };

export const filterInWords = (filter: RowFilter): string =>
  'mark' in filter ? filter.mark : `over ${count(filter.longerThan.tokens)} tokens`;
