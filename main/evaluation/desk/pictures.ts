/** @file The report's drawings: the loss as it learned, the learning curve, the lineage. All inline. */
import type { LearningCurve } from '../../contract/entities.ts';
import type { LineageNode } from '../../contract/lineage.ts';
import { escapeXml, plotSvg } from '../../contract/plot.ts';
import { COLOURS, FONT } from './style.ts';

const WIDTH = 320;
const HEIGHT = 176;
const common = { width: WIDTH, height: HEIGHT, colours: COLOURS, font: FONT } as const;

export interface Looks {
  readonly steps: readonly number[];
  readonly losses: readonly number[];
}

export function lossPicture(unseen: Looks, training: Looks, best: { step: number; loss: number } | null): string {
  const format = (value: number): string => value.toFixed(3);
  return plotSvg({
    ...common,
    label: `Loss on unseen examples from ${format(unseen.losses[0] ?? 0)} to ${format(unseen.losses.at(-1) ?? 0)}`,
    series: [
      { label: 'Training', colour: COLOURS.training, alpha: 0.5, width: 1, x: training.steps, y: training.losses },
      { label: 'Unseen', colour: COLOURS.unseen, width: 2, points: true, x: unseen.steps, y: unseen.losses },
    ],
    xLabel: 'step',
    spot: best ? { x: best.step, y: best.loss, words: `step ${best.step}, ${format(best.loss)}` } : undefined,
  });
}

export function curvePicture(curve: NonNullable<LearningCurve['result']>): string {
  const percent = (share: number): string => `${Math.round(100 * share)}%`;
  const [near, far] = [curve.forecast[0], curve.forecast.at(-1)];
  const ahead = near && far ? [near, far] : [];
  const margin = (end: 'low' | 'high') => ({
    label: '95% margin',
    colour: COLOURS.unseen,
    width: 0.75,
    dash: [1, 3],
    silent: true,
    x: ahead.map(({ share }) => share),
    y: ahead.map(({ loss }) => loss[end]),
  });
  return plotSvg({
    ...common,
    label: curve.sentence,
    series: [
      margin('low'),
      margin('high'),
      {
        label: 'Expected',
        colour: COLOURS.unseen,
        dash: [4, 4],
        x: ahead.map(({ share }) => share),
        y: ahead.map(({ loss }) => loss.value),
      },
      {
        label: 'Measured',
        colour: COLOURS.unseen,
        width: 2,
        points: true,
        x: curve.points.map(({ share }) => share),
        y: curve.points.map(({ loss }) => loss.value),
      },
    ],
    xLabel: 'of the data',
    xFormat: percent,
  });
}

const ROW = 32;
/** Rows that the picture holds; of more the first, which are the nearest to the base, and the one that is reported. */
const MOST_ROWS = 7;
/** Characters of a note that fit the column. */
const NOTE = 46;
const INDENT = 20;

/** Base at the top, each run under what it was made from; the one that is reported in brass. */
export function lineagePicture(all: readonly LineageNode[]): string {
  const nodes = all.slice(0, Math.max(MOST_ROWS, all.findIndex(({ current }) => current) + 1));
  const x = (depth: number): number => 8 + depth * INDENT;
  const y = (row: number): number => 12 + row * ROW;
  const lines = nodes.map(({ parent, depth }, row) =>
    parent === null
      ? ''
      : `<path d="M${x(depth - 1)} ${y(parent) + 6}V${y(row) - 6}q0 6 6 6H${x(depth) - 6}" fill="none" stroke="#c6bfb1" stroke-width="1.5"/>`,
  );
  const marks = nodes.map(({ depth, title, note, current, kind }, row) => {
    const colour = current ? COLOURS.unseen : '#8a8273';
    return `<circle cx="${x(depth)}" cy="${y(row)}" r="4.5" fill="${current ? colour : COLOURS.ground}" stroke="${colour}" stroke-width="1.5"${kind === 'gone' ? ' stroke-dasharray="2 2"' : ''}/><text x="${x(depth) + 14}" y="${y(row) + 4}" font-size="12" font-weight="${current ? 600 : 400}" fill="${COLOURS.ink}">${escapeXml(title)}</text><text x="${x(depth) + 14}" y="${y(row) + 18}" font-size="11" fill="${COLOURS.soft}">${escapeXml(note.length > NOTE ? `${note.slice(0, NOTE)}…` : note)}</text>`;
  });
  const height = nodes.length * ROW + 4;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="${height}" role="img" aria-label="Lineage: ${escapeXml(nodes.map(({ title }) => title).join(', then '))}" font-family="${escapeXml(FONT)}">${lines.join('')}${marks.join('')}</svg>`;
}
