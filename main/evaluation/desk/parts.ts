/** @file Parts of the report: text made safe, figures with margins, rows of differences. */
import type { DifferenceVerdict, Measured } from '../../contract/entities.ts';
import { signed } from '../../contract/figures.ts';
import { lossMargin } from '../../contract/margin.ts';
import { escapeXml } from '../../contract/plot.ts';
import { maskPersonal } from '../../datasets/quality/personal.ts';

export const safe = escapeXml;

const ALL_KINDS = new Set(['mail', 'phone', 'card', 'id-number'] as const);
/** Text as it may be passed on: what looks personal is masked, long text is cut. Not yet safe as HTML. */
export function masked(text: string, most: number): string {
  const whole = maskPersonal(text.trim(), ALL_KINDS).text;
  return whole.length > most ? `${whole.slice(0, most).trimEnd()}…` : whole;
}
export const passage = (text: string, most: number): string => safe(masked(text, most));

const half = ({ low, high }: Measured, digits: number): string => ((high - low) / 2).toFixed(digits);

/** Coloured only where the verdict tells it from chance. */
const tone = (verdict: DifferenceVerdict): string =>
  verdict === 'better' ? 'gained' : verdict === 'worse' ? 'lost' : '';

export interface Row {
  readonly name: string;
  /** "18 → 71". */
  readonly note: string;
  /** In points. */
  readonly difference: Measured;
  readonly verdict: DifferenceVerdict;
}

/** Rows of differences on one scale. */
export function forest(rows: readonly Row[]): string {
  const reach = Math.max(1, ...rows.flatMap(({ difference: { low, high } }) => [Math.abs(low), Math.abs(high)]));
  const at = (value: number): number => 50 + (Math.max(-reach, Math.min(reach, value)) / reach) * 48;
  const css = (left: number, width: number): string => `left:${left.toFixed(1)}%;width:${width.toFixed(1)}%`;
  return `<ul class="fr">${rows
    .map(({ name, note, difference, verdict }) => {
      const { value, low, high } = difference;
      const bar = css(Math.min(50, at(value)), Math.abs(at(value) - 50));
      return `<li><span>${safe(name)}<small class="term">${safe(note)}</small></span><div class="forest" aria-hidden="true"><u></u><i class="${tone(verdict)}" style="${bar}"></i><s style="${css(at(low), at(high) - at(low))}"></s></div><span class="delta ${tone(verdict)}">${signed(value, 0)} <small>± ${half(difference, 0)}</small></span></li>`;
    })
    .join('')}</ul>`;
}

/** @param rows that it was measured on. */
export const lossDelta = (difference: Measured, verdict: DifferenceVerdict, rows: number): string =>
  `<span class="delta ${tone(verdict)}">${signed(difference.value, 3)} <small>${lossMargin(difference, rows)}</small></span>`;

export const facts = (rows: readonly (readonly [name: string, value: string] | null)[]): string =>
  `<dl class="facts">${rows
    .filter((row) => row !== null)
    .map(([name, value]) => `<dt>${safe(name)}</dt><dd>${value}</dd>`)
    .join('')}</dl>`;

export const section = (title: string, term: string, body: string): string =>
  `<section><h2>${safe(title)}${term === '' ? '' : ` <span class="term small">${safe(term)}</span>`}</h2>${body}</section>`;
