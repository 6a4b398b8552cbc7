/** @file PDF as text: lines by their place on the page; headers, footers and page numbers that repeat left out, words broken at line ends joined, both said. */
import { getDocumentProxy } from 'unpdf';
import { FettleError } from '../../contract/errors.ts';
import type { RawRecord, RemovedText, SourceFile } from './record.ts';
import { readBytes, tidy } from './text.ts';

interface Line {
  readonly text: string;
  /** From the page's bottom, and the size of its letters, in points. */
  readonly y: number;
  readonly size: number;
}
interface TextItem {
  readonly str: string;
  readonly transform: readonly number[];
  readonly width: number;
  readonly height: number;
  readonly hasEOL: boolean;
}

/** So many lines at the top and at the bottom of a page may be its furniture. */
const EDGE_LINES = 2;
/** Lines farther apart than that many letters' heights do not belong together. */
const GAP = 1.8;
/** Furniture stands on at least that share of the pages. */
const REPEATED = 0.5;

export async function readPdf(file: SourceFile, onPage: (share: number) => void = () => undefined): Promise<RawRecord> {
  const bytes = await readBytes(file);
  const pages: Line[][] = [];
  try {
    const pdf = await getDocumentProxy(new Uint8Array(bytes), { verbosity: 0 });
    for (let number = 1; number <= pdf.numPages; number++) {
      const page = await pdf.getPage(number);
      pages.push(linesOf((await page.getTextContent()).items as TextItem[]));
      page.cleanup();
      onPage(number / pdf.numPages);
    }
    await pdf.cleanup();
  } catch (error) {
    throw explain(file.name, error as Error);
  }
  if (pages.every((lines) => lines.length === 0))
    throw new FettleError(
      'FORMAT_INVALID',
      `${file.name} holds pictures of pages and no text: it was scanned.`,
      'Run text recognition (OCR) over it, and bring in what that gives.',
    );
  const { kept, removed } = withoutFurniture(pages);
  const { text, joined } = flow(kept);
  if (joined.length > 0)
    removed.push({ what: 'hyphens at line ends', count: joined.length, examples: joined.slice(0, 3) });
  return removed.length > 0 ? { kind: 'text', text, removed } : { kind: 'text', text };
}

function explain(name: string, error: Error): FettleError {
  if (error instanceof FettleError) return error;
  if (error.name === 'PasswordException')
    return new FettleError('FILE_UNREADABLE', `${name} is protected by a password.`, 'Save a copy without one.');
  return new FettleError('FORMAT_INVALID', `${name} is no whole PDF: ${error.message.slice(0, 200)}`, 'Get it again.');
}

/** Pieces of text on the same height are one line, from left to right as the file gives them. */
function linesOf(items: readonly TextItem[]): Line[] {
  const lines: { text: string; y: number; size: number; end: number }[] = [];
  for (const { str, transform, width, height } of items) {
    if (str === '') continue;
    const [x = 0, y = 0] = transform.slice(4);
    const size = height || Math.abs(transform[3] ?? 0);
    const last = lines.at(-1);
    if (last && Math.abs(last.y - y) < Math.max(2, size * 0.4) && x >= last.end - size) {
      const gap = x - last.end > size * 0.2 && !last.text.endsWith(' ') && !str.startsWith(' ');
      last.text += gap ? ` ${str}` : str;
      last.end = x + width;
      last.size = Math.max(last.size, size);
    } else if (str.trim() !== '') lines.push({ text: str, y, size, end: x + width });
  }
  return lines.map(({ text, y, size }) => ({ text: text.trim(), y, size }));
}

/** What stands at the same edge of many pages; numbers in it may count. */
function withoutFurniture(pages: readonly (readonly Line[])[]): { kept: Line[][]; removed: RemovedText[] } {
  const shapeOf = (text: string): string =>
    text
      .replace(/\d+/g, '#')
      .replace(/\b[ivxlc]+\b/g, '#')
      .trim();
  // Only lines that stand apart from the text: its own first and last lines may say the same on every page too.
  const edges = (
    lines: readonly Line[],
  ): readonly (readonly [where: 'page headers' | 'page footers', line: Line])[] => {
    const order = lines.toSorted((a, b) => b.y - a.y);
    const apart = (side: readonly Line[]): Line[] => {
      const out: Line[] = [];
      for (const [i, line] of side.slice(0, EDGE_LINES).entries()) {
        const next = side[i + 1];
        if (next && Math.abs(line.y - next.y) < Math.max(line.size, next.size) * GAP) break;
        out.push(line);
      }
      return out;
    };
    const headers = apart(order);
    return [
      ...headers.map((line) => ['page headers', line] as const),
      ...apart(order.slice(headers.length).toReversed()).map((line) => ['page footers', line] as const),
    ];
  };
  const counts = new Map<string, number>();
  for (const page of pages)
    for (const key of new Set(edges(page).map(([where, line]) => `${where} ${shapeOf(line.text)}`)))
      counts.set(key, (counts.get(key) ?? 0) + 1);
  const least = Math.max(2, pages.length * REPEATED);
  const gone = { 'page headers': [] as string[], 'page footers': [] as string[], 'page numbers': [] as string[] };
  const kept = pages.map((page) => {
    const out = new Set<Line>();
    for (const [where, line] of edges(page)) {
      if ((counts.get(`${where} ${shapeOf(line.text)}`) ?? 0) < least) continue;
      out.add(line);
      const number = /^[\W_]*(page|seite|p\.)?[\W_]*(\d+|[ivxlc]+)([\W_]*(of|von|\/)?[\W_]*\d+)?[\W_]*$/i.test(
        line.text,
      );
      gone[number ? 'page numbers' : where].push(line.text);
    }
    return page.filter((line) => !out.has(line));
  });
  const removed = (Object.entries(gone) as [keyof typeof gone, string[]][])
    .filter(([, lines]) => lines.length > 0)
    .map(([what, lines]) => ({
      what,
      count: lines.length,
      examples: [...new Set(lines)].slice(0, 3).map((line) => line.slice(0, 120)),
    }));
  return { kept, removed };
}

/** Lines to paragraphs: a gap, or a sentence that ended on a short line, begins a new one; larger letters make a heading. */
function flow(pages: readonly (readonly Line[])[]): { text: string; joined: string[] } {
  const all = pages.flat();
  const sizes = all.map((line) => line.size).sort((a, b) => a - b);
  const usual = sizes[sizes.length >> 1] ?? 10;
  const widths = all.map((line) => line.text.length).sort((a, b) => a - b);
  const full = widths[Math.floor(widths.length * 0.9)] ?? 80;
  const joined: string[] = [];
  const blocks: string[] = [];
  let before: Line | undefined;
  for (const page of pages)
    for (const line of page) {
      const heading = line.size > usual * 1.15 && line.text.length < 120;
      const current = blocks.at(-1);
      const gap = before !== undefined && before.y - line.y > Math.max(before.size, line.size) * GAP;
      const ended = before !== undefined && /[.!?:»”"]$/.test(before.text) && before.text.length < full * 0.8;
      const listed = /^([-•*–]|\d+[.)])\s/.test(line.text);
      const fresh =
        current === undefined || before === undefined || gap || ended || listed || heading || current.startsWith('#');
      if (fresh) blocks.push(heading ? `## ${line.text}` : line.text);
      else if (/[\p{L}]-$/u.test(current) && /^\p{Ll}/u.test(line.text)) {
        const word = /[\p{L}]+-$/u.exec(current)?.[0] ?? '';
        joined.push(`${word.slice(0, -1)}${/^\p{L}*/u.exec(line.text)?.[0] ?? ''}`);
        blocks[blocks.length - 1] = current.slice(0, -1) + line.text;
      } else blocks[blocks.length - 1] = `${current} ${line.text}`;
      before = line;
    }
  return { text: tidy(blocks.join('\n\n')), joined };
}
