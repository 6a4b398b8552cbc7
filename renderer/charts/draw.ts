/** @file What a chart draws beside its curves: checkpoints on the axis, the best point, the end of each curve. */
import type uPlot from 'uplot';

export interface ChartSeries {
  readonly label: string;
  /** Name of the colour's token, such as "--series-1". */
  readonly token: string;
  readonly width?: number;
  readonly dash?: readonly number[];
  /** Draws each point too: for curves with few. */
  readonly points?: boolean;
  /** 0 to 1. */
  readonly alpha?: number;
  /** Not told under the pointer. */
  readonly silent?: boolean;
  readonly format: (value: number) => string;
}
export interface Spot {
  readonly x: number;
  readonly y: number;
  readonly words: string;
}

/** The value of a CSS custom property as a canvas takes it: light-dark() is resolved by the browser. */
export function colourOf(element: HTMLElement, token: string): string {
  const probe = document.createElement('i');
  probe.style.color = `var(${token})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** Diamonds on the x axis; all lengths in device pixels. */
export function drawDiamonds(u: uPlot, at: readonly number[], edge: string, ground: string): void {
  const { ctx } = u;
  const size = 5 * devicePixelRatio;
  const y = u.bbox.top + u.bbox.height;
  ctx.save();
  ctx.strokeStyle = edge;
  ctx.fillStyle = ground;
  ctx.lineWidth = 1.25 * devicePixelRatio;
  for (const value of at) {
    const x = u.valToPos(value, 'x', true);
    if (x < u.bbox.left - 1 || x > u.bbox.left + u.bbox.width + 1) continue;
    ctx.beginPath();
    ctx.moveTo(x, y - size);
    ctx.lineTo(x + size, y);
    ctx.lineTo(x, y + size);
    ctx.lineTo(x - size, y);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}

/** A filled dot with its words above it. */
export function drawSpot(
  u: uPlot,
  spot: Spot,
  colours: { line: string; ink: string; ground: string },
  font: string,
): void {
  const { ctx } = u;
  const x = u.valToPos(spot.x, 'x', true);
  const y = u.valToPos(spot.y, 'y', true);
  const { left, width, top } = u.bbox;
  if (x < left - 1 || x > left + width + 1) return;
  const unit = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.arc(x, y, 5 * unit, 0, 2 * Math.PI);
  ctx.fillStyle = colours.line;
  ctx.fill();
  ctx.lineWidth = 2 * unit;
  ctx.strokeStyle = colours.ground;
  ctx.stroke();
  ctx.font = font;
  const half = ctx.measureText(spot.words).width / 2;
  ctx.textAlign = 'center';
  ctx.fillStyle = colours.ink;
  const above = y - 16 * unit > top + 12 * unit;
  const at = [Math.min(left + width - half, Math.max(left + half, x)), above ? y - 14 * unit : y + 22 * unit] as const;
  // A rim of the ground's colour keeps the words apart from the curves.
  ctx.lineJoin = 'round';
  ctx.lineWidth = 4 * unit;
  ctx.strokeText(spot.words, ...at);
  ctx.fillText(spot.words, ...at);
  ctx.restore();
}
