/** @file A loss curve drawn in the terminal with Braille dots: train as dots, held-out as marks on it. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Bits of the dots of a Braille character, by column and row. */
const DOTS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;

/**
 * @param line drawn as dots. @param marks drawn as ● over them. @param size in characters.
 * @returns lines of text with the scale of y at the left and of x below; empty where there is nothing to draw.
 */
export function drawCurve(line: readonly Point[], marks: readonly Point[], { width = 64, height = 12 } = {}): string {
  const points = [...line, ...marks].filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
  if (points.length === 0) return '';
  const [left, right] = range(points.map(({ x }) => x));
  const [low, high] = range(points.map(({ y }) => y));
  const column = (x: number): number => Math.round(((x - left) / (right - left)) * (width * 2 - 1));
  const row = (y: number): number => Math.round(((high - y) / (high - low)) * (height * 4 - 1));

  const cells = Array.from({ length: height }, () => new Uint8Array(width));
  const dot = (c: number, r: number): void => {
    const bit = DOTS[c & 1]?.[r & 3];
    const cell = cells[r >> 2];
    if (bit !== undefined && cell) cell[c >> 1]! |= bit;
  };
  line.forEach(({ x, y }, i) => {
    const before = line[i - 1] ?? { x, y };
    const [c0, r0, c1, r1] = [column(before.x), row(before.y), column(x), row(y)];
    const steps = Math.max(Math.abs(c1 - c0), Math.abs(r1 - r0), 1);
    for (let s = 0; s <= steps; s++)
      dot(Math.round(c0 + ((c1 - c0) * s) / steps), Math.round(r0 + ((r1 - r0) * s) / steps));
  });
  const text = cells.map((cell) => Array.from(cell, (bits) => (bits === 0 ? ' ' : String.fromCharCode(0x2800 + bits))));
  for (const { x, y } of marks) {
    const cell = text[row(y) >> 2];
    if (cell) cell[column(x) >> 1] = '●';
  }

  const labels = [high, (high + low) / 2, low].map((value) => value.toFixed(2));
  const margin = Math.max(...labels.map((label) => label.length));
  const at = new Map([
    [0, labels[0]],
    [Math.floor((height - 1) / 2), labels[1]],
    [height - 1, labels[2]],
  ]);
  const lines = text.map((cell, r) => `${(at.get(r) ?? '').padStart(margin)} ┤${cell.join('').trimEnd()}`);
  const [from, to] = [String(Math.round(left)), String(Math.round(right))];
  return [
    ...lines,
    `${' '.repeat(margin)} └${'─'.repeat(width)}`,
    `${' '.repeat(margin + 2)}${from}${to.padStart(width - from.length)}`,
  ].join('\n');
}

/** Never empty: a single value gets room around it. */
function range(values: readonly number[]): [number, number] {
  const low = Math.min(...values);
  const high = Math.max(...values);
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}
