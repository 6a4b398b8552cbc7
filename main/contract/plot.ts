/** @file Curves as a drawing of lines (SVG): what the workbench saves of a chart, and what stands in the report. Pure text, no reference to anything outside. */

export interface PlotSeries {
  readonly label: string;
  readonly colour: string;
  readonly width?: number;
  readonly dash?: readonly number[];
  /** 0 to 1. */
  readonly alpha?: number;
  /** Draws each point too: for curves with few. */
  readonly points?: boolean;
  /** Drawn, not named in the key. */
  readonly silent?: boolean;
  /** From left to right; a point without a value is left out and the line goes on. */
  readonly x: ArrayLike<number>;
  readonly y: ArrayLike<number | null | undefined>;
}
export interface Plot {
  /** What is drawn and how it stands, for those who do not see it. */
  readonly label: string;
  readonly width: number;
  readonly height: number;
  readonly series: readonly PlotSeries[];
  readonly xLabel: string;
  readonly xFormat?: (value: number) => string;
  readonly log?: boolean;
  /** What is shown, where it is not all. */
  readonly window?: readonly [from: number, to: number] | undefined;
  /** Checkpoints: diamonds on the x axis. */
  readonly diamonds?: readonly number[];
  readonly spot?: { readonly x: number; readonly y: number; readonly words: string } | undefined;
  readonly colours: { readonly ink: string; readonly soft: string; readonly grid: string; readonly ground: string };
  readonly font: string;
}

const PAD = { left: 48, right: 16, top: 20, bottom: 34 };
const KEY_HEIGHT = 20;

/** @returns one <svg> element that stands by itself. */
export function plotSvg(plot: Plot): string {
  const { width, height, series, colours, log = false, xFormat = plain } = plot;
  const named = series.filter(({ silent }) => !silent);
  const top = PAD.top + (named.length > 1 ? KEY_HEIGHT : 0);
  const lines = series.map((each) => ({ ...each, at: pointsOf(each, plot.window, log) }));
  const all = lines.flatMap(({ at }) => at);
  const [fromX, toX] = plot.window ?? spanOf(all.map(([x]) => x).concat(0));
  const span = spanOf(all.map(([, y]) => y));
  const room = log ? 0 : (span[1] - span[0] || Math.abs(span[1]) || 1) * 0.08;
  const scale = log ? Math.log : (value: number): number => value;
  const [low, high] = [scale(span[0] - room), scale(span[1] + room)];
  const px = (x: number): number => PAD.left + ((x - fromX) / (toX - fromX || 1)) * (width - PAD.left - PAD.right);
  const py = (y: number): number => top + ((high - scale(y)) / (high - low || 1)) * (height - top - PAD.bottom);
  const bottom = height - PAD.bottom;
  const text = (x: number, y: number, words: string, anchor: string, fill = colours.soft): string =>
    `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}" fill="${fill}">${escapeXml(words)}</text>`;

  const grid = (log ? logTicks(span[0], span[1]) : ticks(span[0] - room, span[1] + room, 4)).map(
    (value) =>
      `<line x1="${PAD.left}" x2="${width - PAD.right}" y1="${fixed(py(value))}" y2="${fixed(py(value))}" stroke="${colours.grid}"/>${text(PAD.left - 8, py(value) + 4, plain(value), 'end')}`,
  );
  const along = ticks(fromX, toX, Math.max(2, Math.floor(width / 120))).map((value) =>
    text(px(value), bottom + 16, xFormat(value), 'middle'),
  );
  const curves = lines.map(({ at, colour, width: stroke = 1.5, dash = [], alpha = 1, points = false }) => {
    const path = at.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${fixed(px(x))} ${fixed(py(y))}`).join('');
    const dots = points
      ? at
          .map(
            ([x, y]) =>
              `<circle cx="${fixed(px(x))}" cy="${fixed(py(y))}" r="3" fill="${colours.ground}" stroke="${colour}" stroke-width="1.5"/>`,
          )
          .join('')
      : '';
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${stroke}" stroke-linejoin="round"${dash.length > 0 ? ` stroke-dasharray="${dash.join(' ')}"` : ''}${alpha < 1 ? ` opacity="${alpha}"` : ''}/>${dots}`;
  });
  const marks = (plot.diamonds ?? [])
    .filter((x) => x >= fromX && x <= toX)
    .map((x) => {
      const at = fixed(px(x));
      return `<path d="M${at} ${bottom - 5}l5 5l-5 5l-5 -5z" fill="${colours.ground}" stroke="${colours.soft}" stroke-width="1.25"/>`;
    });
  const { spot } = plot;
  const dot =
    spot && spot.x >= fromX && spot.x <= toX
      ? `<circle cx="${fixed(px(spot.x))}" cy="${fixed(py(spot.y))}" r="5" fill="${series.at(-1)?.colour ?? colours.ink}" stroke="${colours.ground}" stroke-width="2"/>${text(Math.min(width - PAD.right - 64, Math.max(PAD.left + 64, px(spot.x))), py(spot.y) - 12, spot.words, 'middle', colours.ink)}`
      : '';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(plot.label)}" font-family="${escapeXml(plot.font)}" font-size="11" font-variant-numeric="tabular-nums">`,
    `<rect width="${width}" height="${height}" fill="${colours.ground}"/>`,
    named.length > 1 ? keyOf(named, colours.ink) : '',
    ...grid,
    `<line x1="${PAD.left}" x2="${width - PAD.right}" y1="${bottom}" y2="${bottom}" stroke="${colours.soft}" stroke-opacity="0.5"/>`,
    ...along,
    text(width - PAD.right, height - 4, plot.xLabel, 'end'),
    ...curves,
    ...marks,
    dot,
    '</svg>',
  ].join('');
}

function keyOf(named: readonly PlotSeries[], ink: string): string {
  let x = PAD.left;
  return named
    .map(({ label, colour, dash = [] }) => {
      const at = x;
      x += 36 + label.length * 6.5;
      return `<line x1="${at}" x2="${at + 20}" y1="10" y2="10" stroke="${colour}" stroke-width="2"${dash.length > 0 ? ` stroke-dasharray="${dash.join(' ')}"` : ''}/><text x="${at + 26}" y="14" fill="${ink}">${escapeXml(label)}</text>`;
    })
    .join('');
}

function pointsOf({ x, y }: PlotSeries, window: Plot['window'], log: boolean): (readonly [x: number, y: number])[] {
  const at: (readonly [number, number])[] = [];
  for (let i = 0; i < x.length; i++) {
    const [left, value] = [x[i]!, y[i]];
    if (value === null || value === undefined || !Number.isFinite(value) || (log && value <= 0)) continue;
    if (!window || (left >= window[0] && left <= window[1])) at.push([left, value]);
  }
  return at;
}

/** A loop, since a curve may have more points than a call takes arguments. */
function spanOf(values: readonly number[]): readonly [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

/** About `count` round values between two. */
export function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough)!;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

/** 1, 2 and 5 of each power of ten within, or plain ticks where there are too few. */
function logTicks(low: number, high: number): number[] {
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const each of [1, 2, 5]) {
      const value = Number((each * 10 ** power).toPrecision(12));
      if (value >= low && value <= high) found.push(value);
    }
  return found.length >= 2 ? found : ticks(low, high, 4);
}

const fixed = (value: number): string => String(Number(value.toFixed(2)));
const plain = (value: number): string => String(Number(value.toPrecision(4)));
export const escapeXml = (text: string): string => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
