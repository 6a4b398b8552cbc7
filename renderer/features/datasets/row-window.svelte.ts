/** @file A window of rows that moves along a dataset of any size: pages are fetched at its ends, and what is far away is let go. */
import type { DatasetRow } from '../../../main/contract/entities.ts';
import { toFettleError, type FettleError } from '../../../main/contract/errors.ts';

type Page = (
  offset: number,
  limit: number,
) => Promise<{ readonly total: number | null; readonly rows: readonly DatasetRow[] }>;

const PAGE = 40;
/** Rows held at once: what can be seen, and some on either side. */
const HELD = 160;

export class RowWindow {
  rows = $state.raw<readonly DatasetRow[]>([]);
  /** Place of the first held row among those asked for. */
  from = $state(0);
  /** Null where a search has not come to its end. */
  total = $state<number | null>(null);
  error = $state.raw<FettleError>();
  /** False until the first page came. */
  ready = $state(false);
  readonly #page: Page;
  #subject = 0;
  #busy = false;

  constructor(page: Page) {
    this.#page = page;
  }

  get #end(): number {
    return this.from + this.rows.length;
  }

  /** Begins anew at a place; what is on its way from before is dropped. */
  async reset(at = 0): Promise<void> {
    this.#subject += 1;
    this.#busy = false;
    await this.#fetch(at, PAGE, (rows) => {
      this.rows = rows;
      this.from = at;
      this.ready = true;
    });
  }

  async after(): Promise<void> {
    if (this.total !== null && this.#end >= this.total) return;
    await this.#fetch(this.#end, PAGE, (rows) => {
      const all = [...this.rows, ...rows];
      const over = Math.max(0, all.length - HELD);
      this.rows = all.slice(over);
      this.from += over;
    });
  }

  async before(): Promise<void> {
    if (this.from === 0) return;
    const at = Math.max(0, this.from - PAGE);
    await this.#fetch(at, this.from - at, (rows) => {
      this.rows = [...rows, ...this.rows].slice(0, HELD);
      this.from = at;
    });
  }

  async #fetch(offset: number, limit: number, take: (rows: readonly DatasetRow[]) => void): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    const subject = this.#subject;
    try {
      const { total, rows } = await this.#page(offset, limit);
      if (subject !== this.#subject) return;
      take(rows);
      this.total = total;
      this.error = undefined;
    } catch (error) {
      if (subject !== this.#subject) return;
      this.error = toFettleError(error);
    }
    this.#busy = false;
  }
}
