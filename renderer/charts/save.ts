/** @file A chart as a file: a drawing of lines (SVG), a picture (PNG), its numbers (CSV). */
import type uPlot from 'uplot';
import { csvCell } from '../../main/contract/csv.ts';
import { plotSvg, type Plot } from '../../main/contract/plot.ts';
import { colourOf, type ChartSeries, type Spot } from './draw.ts';

export interface Drawn {
  readonly label: string;
  readonly series: readonly ChartSeries[];
  readonly data: uPlot.AlignedData;
  readonly xLabel: string;
  /** What the numbers of the axis are, where its name does not say: "seconds". */
  readonly xUnit?: string | undefined;
  readonly xFormat?: (value: number) => string;
  readonly log?: boolean;
  readonly diamonds?: readonly number[];
  readonly spot?: Spot | undefined;
}

const SIZE = { width: 960, height: 480 };
/** Pixels of a picture to one of the drawing: sharp on paper. */
const SCALE = 2;

/** @param colour of a token, such as "--ink", as it is now: light or dark. */
export function svgOf(drawn: Drawn, colour: (token: string) => string): string {
  const { label, series, data, xLabel, xFormat, log, diamonds, spot } = drawn;
  const plot: Plot = {
    ...SIZE,
    label,
    xLabel,
    series: series.map(({ token, format: _, ...rest }, i) => ({
      ...rest,
      colour: colour(token),
      x: data[0],
      y: data[i + 1] ?? [],
    })),
    ...(xFormat ? { xFormat } : {}),
    ...(log ? { log } : {}),
    ...(diamonds ? { diamonds } : {}),
    spot,
    colours: {
      ink: colour('--ink'),
      soft: colour('--ink-3'),
      grid: colour('--grid'),
      ground: colour('--surface'),
    },
    font: "Inter, 'Segoe UI', 'Noto Sans', sans-serif",
  };
  return plotSvg(plot);
}

export const coloursIn =
  (element: HTMLElement) =>
  (token: string): string =>
    colourOf(element, token);

/** One row for each x, one column for each curve; what was not measured there is empty. RFC 4180. */
export function csvOf({ series, data, xLabel, xUnit }: Pick<Drawn, 'series' | 'data' | 'xLabel' | 'xUnit'>): string {
  const head = [xUnit ? `${xLabel} (${xUnit})` : xLabel, ...series.map(({ label }) => label)];
  const rows = Array.from(data[0], (x, i) => [x, ...data.slice(1).map((column) => column[i])]);
  return `${[head, ...rows].map((row) => row.map((value) => csvCell(value)).join(',')).join('\r\n')}\r\n`;
}

export async function pngOf(svg: string): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = SIZE.width * SCALE;
  canvas.height = SIZE.height * SCALE;
  canvas.getContext('2d')!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('The picture could not be made.'))), 'image/png'),
  );
}
