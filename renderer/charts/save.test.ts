/** @file What is saved of a chart: the SVG is lines of the same numbers and stands by itself; the CSV is the numbers. */
import { describe, expect, it } from 'vitest';
import { csvOf, svgOf, type Drawn } from './save.ts';

const format = (value: number): string => value.toFixed(3);
const drawn: Drawn = {
  label: 'Loss of run 1 & "run 2"',
  series: [
    { label: 'Run 1', token: '--series-1', points: true, format },
    { label: 'Run 2, "long"', token: '--series-3', dash: [6, 4], format },
  ],
  data: [
    [0, 10, 20, 30],
    [2, 1.5, null, 1],
    [2, null, 1.25, undefined],
  ],
  xLabel: 'Step',
  diamonds: [10, 20],
  spot: { x: 30, y: 1, words: 'Best 1.000' },
};
const colour = (token: string): string => `rgb(1, 2, ${token.length})`;

describe('a saved chart', () => {
  it('is a drawing of lines that needs nothing else', () => {
    const svg = svgOf(drawn, colour);
    expect(svg).not.toMatch(/<image|href|url\(|var\(|<script|<foreignObject/);
    expect(svg.match(/<path d="M[^"]*L/g)).toHaveLength(2);
    expect(svg).toContain('Run 2, &#34;long&#34;');
    expect(svg.match(/<circle/g)).toHaveLength(4);
    expect(svg).toContain('Best 1.000');
  });

  it('has its points where the numbers are: equal steps are equally far, and lower is lower', () => {
    const [, path] = /<path d="(M[^"]*)" fill="none"/.exec(svgOf(drawn, colour))!;
    const points = path!
      .slice(1)
      .split('L')
      .map((pair) => pair.split(' ').map(Number));
    expect(points).toHaveLength(3);
    const [[x0, y0], [x1, y1], [x2, y2]] = points as [[number, number], [number, number], [number, number]];
    expect(x2 - x1).toBeCloseTo(2 * (x1 - x0), 1);
    expect(y1 - y0).toBeCloseTo(y2 - y1, 1);
    expect(y2).toBeGreaterThan(y0);
  });

  it('has a log scale on which equal ratios are equally far', () => {
    const log: Drawn = {
      ...drawn,
      series: drawn.series.slice(0, 1),
      data: [
        [0, 1, 2],
        [4, 2, 1],
      ],
      log: true,
    };
    const [, path] = /<path d="(M[^"]*)" fill="none"/.exec(svgOf(log, colour))!;
    const y = path!
      .slice(1)
      .split('L')
      .map((pair) => Number(pair.split(' ')[1]));
    expect(y[1]! - y[0]!).toBeCloseTo(y[2]! - y[1]!, 1);
  });

  it('gives its numbers as CSV, what is missing empty', () => {
    expect(csvOf(drawn)).toBe('Step,Run 1,"Run 2, ""long"""\r\n0,2,2\r\n10,1.5,\r\n20,,1.25\r\n30,1,\r\n');
    expect(csvOf({ ...drawn, xLabel: 'Time', xUnit: 'seconds' })).toMatch(/^Time \(seconds\),/);
  });
});
