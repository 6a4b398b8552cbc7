/** @file The icons: one path each, drawn in a 16 x 16 box with a 1.5 stroke. */
const ring = (x: number, y: number, r: number): string =>
  `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;

export const ICONS = {
  plus: 'M8 3v10M3 8h10',
  check: 'm3.5 8.5 3 3 6-7',
  cross: 'm4 4 8 8m0-8-8 8',
  right: 'm6 3.5 4.5 4.5L6 12.5',
  left: 'M10 3.5 5.5 8l4.5 4.5',
  arrow: 'M2.5 8h11m-4-4 4 4-4 4',
  up: 'M8 13V3.5M4 7l4-4 4 4',
  search: `${ring(7, 7, 4.5)}M10.5 10.5l3 3`,
  folder: 'M2 4.5A1 1 0 0 1 3 3.5h3l1.5 1.5H13a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1z',
  file: 'M4 2h5l3 3v9H4zM9 2v3h3',
  cube: 'm8 1.8 5.5 3v6.4L8 14.2l-5.5-3V4.8zM2.5 4.8 8 8l5.5-3.2M8 8v6.2',
  list: 'M6 4h7.5M6 8h7.5M6 12h7.5M2.5 4h.8M2.5 8h.8M2.5 12h.8',
  pulse: 'M1.5 8.5H4l2-5 3.5 9.5 2-4.5h3',
  sliders: `M2 4.5h7M13 4.5h1M2 11.5h1M7 11.5h7${ring(11, 4.5, 1.8)}${ring(5, 11.5, 1.8)}`,
  offline: 'M2 5.5A8.5 8.5 0 0 1 14 5.5M4.5 8.3a5 5 0 0 1 7 0M8 11.5v.1M2.5 2.5l11 11',
  half: `${ring(8, 8, 5.5)}M8 2.5v11M10 3.2v9.6M12 4.6v6.8`,
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  play: 'M5.5 3.5v9l6.5-4.5z',
  stop: 'M5 5h6v6H5z',
  chip: 'M4.5 4.5h7v7h-7zM6.5 2v2.5M9.5 2v2.5M6.5 11.5V14M9.5 11.5V14M2 6.5h2.5M2 9.5h2.5M11.5 6.5H14M11.5 9.5H14',
  book: 'M8 4C6.5 3 4.5 2.8 2.5 3v9.5c2-.2 4 0 5.5 1 1.5-1 3.5-1.2 5.5-1V3c-2-.2-4 0-5.5 1zM8 4v9.5',
  warning: 'M8 2.5 14 13H2zM8 6.5v3M8 11.3v.1',
  info: `${ring(8, 8, 5.5)}M8 7.3v3.5M8 5.2v.1`,
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  undo: 'M6 3 3 6l3 3M3 6h6.5a3.5 3.5 0 0 1 0 7H7',
  menu: 'M2.5 4h11M2.5 8h11M2.5 12h11',
  bin: 'M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.5 9h6l.5-9',
  branch: `${ring(4.5, 3.5, 1.5)}${ring(4.5, 12.5, 1.5)}${ring(11.5, 6, 1.5)}M4.5 5v6M11.5 7.5c0 2.500-3.500 2-7 3.500`,
} as const;
export type IconName = keyof typeof ICONS;
