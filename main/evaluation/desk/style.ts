/** @file The report's own style: the light half of the workbench's tokens, since paper is light. */

/** Colours by their meaning; plots take them too. */
export const COLOURS = {
  ink: '#24211c',
  soft: '#665f53',
  grid: '#e8e4db',
  ground: '#ffffff',
  unseen: '#a4781f',
  training: '#7a7265',
} as const;
export const FONT = "Inter, -apple-system, 'Segoe UI', 'Noto Sans', 'Liberation Sans', sans-serif";

export const STYLE = `
:root { color-scheme: light; --ground: #f3f1ec; --raised: #fff; --sunken: #ece9e2; --line: #e0dbd1; --line-strong: #c6bfb1; --control-line: #8a8273; --ink: #24211c; --ink-2: #4c463d; --ink-3: #665f53; --brass: #c4973c; --brass-line: #a4781f; --gained: #2a6c44; --gained-wash: #dcece1; --gained-line: #3f8a5c; --lost: #a82d48; --lost-wash: #f7e0e4; --lost-line: #c04a64; --taupe: #7a7265; --grid: #e8e4db; }
@page { size: A4; margin: 0; }
*, *::before, *::after { box-sizing: border-box; }
h1, h2, h3, p, ul, ol, dl, dd, table { margin: 0; padding: 0; }
ul, ol { list-style: none; }
body { margin: 0; background: var(--sunken); color: var(--ink); font: 400 12px/17px ${FONT}; font-variant-numeric: tabular-nums; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
h1 { font-size: 18px; line-height: 24px; letter-spacing: -.01em; }
h2 { font-size: 14px; line-height: 20px; }
h3 { font-size: 12px; line-height: 17px; }
p { text-wrap: pretty; }
svg { display: block; max-width: 100%; }
.sheet { width: 210mm; min-height: 297mm; margin: 32px auto; padding: 11mm 15mm 9mm; background: var(--raised); box-shadow: 0 8px 24px #24211c1f; display: flex; flex-direction: column; gap: 12px; }
.sheet > footer { margin-top: auto; padding-top: 6px; border-top: 1px solid var(--line); display: flex; justify-content: space-between; gap: 16px; color: var(--ink-3); font-size: 10.5px; white-space: nowrap; line-height: 16px; }
.top { display: grid; grid-template-columns: 24px minmax(0, 1fr) auto; gap: 0 12px; align-items: center; padding-bottom: 8px; border-bottom: 1px solid var(--line-strong); }
.top > .small { text-align: right; }
.cols { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 16px 32px; align-items: start; }
section > h2 { margin-bottom: 5px; padding-bottom: 3px; border-bottom: 1px solid var(--line); }
.verdict { font-size: 24px; line-height: 30px; font-weight: 600; letter-spacing: -.02em; }
.lead { font-size: 13px; line-height: 19px; }
.soft { color: var(--ink-2); }
.term { color: var(--ink-3); font-weight: 400; }
.small { font-size: 11px; line-height: 15px; }
.mono { font-family: ui-monospace, 'Cascadia Mono', 'DejaVu Sans Mono', monospace; font-size: 11px; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: 92px minmax(0, 1fr); gap: 3px 12px; font-size: 11px; line-height: 15px; }
.facts dt { color: var(--ink-2); }
.facts dd { overflow-wrap: anywhere; }
.fr li { display: grid; grid-template-columns: minmax(0, 1fr) 76px 76px; gap: 10px; align-items: center; padding: 2px 0; line-height: 15px; }
.fr li:first-child > span:first-child { font-weight: 600; }
.fr small { display: inline-block; font-size: 11px; line-height: 15px; font-weight: 400; margin-left: 6px; white-space: nowrap; }
.fr .delta { justify-self: end; }
.forest { position: relative; height: 16px; background: linear-gradient(var(--grid), var(--grid)) center / 100% 1px no-repeat; }
.forest u { position: absolute; left: 50%; top: -3px; bottom: -3px; width: 1px; background: var(--control-line); }
.forest i { position: absolute; top: 4px; height: 8px; background: var(--taupe); opacity: .55; }
.forest s { position: absolute; top: 2px; height: 12px; border: solid var(--ink-2); border-width: 0 1.5px; background: linear-gradient(var(--ink-2), var(--ink-2)) center / 100% 1.5px no-repeat; }
.forest .gained { background: var(--gained-line); opacity: 1; }
.forest .lost { background: var(--lost-line); opacity: 1; }
.delta { display: inline-flex; align-items: baseline; gap: 4px; padding: 1px 6px; border-radius: 4px; white-space: nowrap; background: var(--sunken); color: var(--ink-2); }
.delta.gained { background: var(--gained-wash); color: var(--gained); font-weight: 600; }
.delta.lost { background: var(--lost-wash); color: var(--lost); font-weight: 600; }
.delta small { display: inline; margin: 0; font-size: 10.5px; font-weight: 400; }
.sample { display: grid; grid-template-columns: 1fr 1fr; gap: 4px 24px; break-inside: avoid; }
.sample + .sample { margin-top: 6px; }
.sample > .q { grid-column: 1 / 3; padding: 4px 12px; background: var(--ground); border-radius: 4px; }
.sample h3 { display: flex; justify-content: space-between; gap: 8px; }
.sample p { white-space: pre-line; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; font-size: 11px; line-height: 15px; }
th { text-align: left; font-weight: 500; color: var(--ink-3); }
th, td { padding: 3px 8px; border-bottom: 1px solid var(--line); vertical-align: top; }
:is(th, td):first-child { padding-left: 0; }
:is(th, td):last-child { padding-right: 0; }
.num { text-align: right; white-space: nowrap; }
.strip { display: grid; grid-auto-flow: column; gap: 1px; width: 132px; height: 10px; margin-top: 3px; }
.strip i { border-radius: 2px; box-shadow: inset 0 0 0 1px var(--line-strong); }
.strip .same { background: var(--ink-2); box-shadow: none; }
.strip .part { background: linear-gradient(var(--ink-2) 58%, var(--line-strong) 58%); box-shadow: none; }
.plain li { padding-left: 14px; text-indent: -14px; }
.plain li::before { content: '–'; display: inline-block; width: 14px; text-indent: 0; color: var(--ink-3); }
.sign { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 24px; }
.sign span { border-top: 1px solid var(--control-line); padding-top: 4px; margin-top: 14px; }
@media print { body { background: none; } .sheet { margin: 0; box-shadow: none; min-height: 296mm; break-after: page; } .sheet:last-child { break-after: auto; } }
@media screen and (max-width: 820px) { .sheet { width: auto; margin: 0; min-height: 0; padding: 24px 16px; } .cols, .sample { grid-template-columns: minmax(0, 1fr); } .sample > .q { grid-column: auto; } }
`;
