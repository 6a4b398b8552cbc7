/** @file HTML as Markdown: headings, lists, tables and code kept; what stands around the text of a page left out, and said. */
import { Readability } from '@mozilla/readability';
import { gfm } from '@joplin/turndown-plugin-gfm';
import Turndown from 'turndown';
import { parseDocument, type Element } from './dom.ts';
import type { RawRecord, RemovedText, SourceFile } from './record.ts';
import { decode, readBytes, tidy } from './text.ts';

const turndown = new Turndown({
  headingStyle: 'atx',
  codeBlockStyle: 'fenced',
  bulletListMarker: '-',
  emDelimiter: '_',
});
turndown.use(gfm);
// The text is for learning, not for being rendered again: nothing is escaped.
turndown.escape = (text) => text;
turndown.addRule('plainPre', {
  filter: (node) => node.nodeName === 'PRE' && node.firstChild?.nodeName !== 'CODE',
  replacement: (_, node) => `\n\n\`\`\`\n${(node.textContent ?? '').replace(/\n$/, '')}\n\`\`\`\n\n`,
});
turndown.addRule('listItem', {
  filter: 'li',
  replacement(content, node) {
    const list = node.parentNode as { nodeName: string; children: ArrayLike<unknown> } | null;
    const number = list?.nodeName === 'OL' ? `${Array.from(list.children).indexOf(node) + 1}. ` : '- ';
    return `${number}${content.trim().replaceAll('\n', `\n${' '.repeat(number.length)}`)}\n`;
  },
});
turndown.remove(['script', 'style', 'noscript', 'template', 'iframe', 'object', 'svg', 'canvas'] as never);
// A picture is nothing that a language model reads, and the address of a link nothing that it should learn.
turndown.addRule('image', {
  filter: 'img',
  replacement: (_, node) => (node as unknown as Element).getAttribute('alt') ?? '',
});
turndown.addRule('link', { filter: 'a', replacement: (content) => content });

/** What a page has around its text. */
const FURNITURE = 'nav, header, footer, aside, form, [role=navigation], [role=banner], [role=contentinfo]';
/** Where the main part would be less than that of all, the page is no article and is kept whole. */
const LEAST_SHARE = 0.5;

/** A tree of a page takes two hundred times its size: beyond so many characters a page is read in pieces, and kept whole. */
export const LARGE = 1 << 20;
const PIECE = 1 << 17;
const BLOCK_ENDS = /<\/(?:p|h[1-6]|table|ul|ol|pre|div|section|article|blockquote)>/gi;
const UNSEEN = /<!--[\s\S]*?-->|<(head|script|style|noscript|template|svg)\b[\s\S]*?<\/\1\s*>/gi;

/** The part of a document's HTML as Markdown. */
export function markdownOf(html: string): string {
  if (html.length <= LARGE) return tidy(turndown.turndown(html));
  return tidy([...piecesOf(html.replaceAll(UNSEEN, ''))].map((piece) => turndown.turndown(piece)).join('\n\n'));
}

/** Cut after the end of a block, or, in a block without end, at a space. */
function* piecesOf(html: string): Iterable<string> {
  for (let from = 0; from < html.length;) {
    BLOCK_ENDS.lastIndex = from + PIECE;
    const block = BLOCK_ENDS.exec(html);
    const space = html.indexOf(' ', from + 2 * PIECE);
    const end = block && block.index < from + 2 * PIECE ? BLOCK_ENDS.lastIndex : space < 0 ? html.length : space;
    yield html.slice(from, end);
    from = end;
  }
}

/** Turndown parses anew with a tree of its own: it needs more of tables than this one has. */
const toMarkdown = (element: Element): string => tidy(turndown.turndown(element.innerHTML));

const EMPTY: RawRecord = { kind: 'bad', reason: 'an empty document', line: null, raw: '' };

export async function readHtml(file: SourceFile): Promise<RawRecord> {
  const bytes = await readBytes(file);
  return pageOf(decodeHtml(bytes, file.name));
}

/** A page names its encoding itself, in its first bytes; UTF-8 and Windows-1252 are told apart without. */
function decodeHtml(bytes: Buffer, name: string): string {
  const said = /<meta[^>]+charset=["']?([\w-]+)/i.exec(bytes.toString('latin1', 0, 4096))?.[1];
  try {
    if (said && !/^utf-?8$/i.test(said)) return new TextDecoder(said).decode(bytes);
  } catch {
    // An encoding that nobody knows.
  }
  return decode(bytes, name);
}

export function pageOf(html: string): RawRecord {
  if (html.length > LARGE) {
    const text = markdownOf(html);
    return text === '' ? EMPTY : { kind: 'text', text };
  }
  const document = parseDocument(/<html[\s>]/i.test(html) ? html : `<html><body>${html}</body></html>`);
  const whole = toMarkdown(document.body);
  if (whole === '') return EMPTY;
  const title = document.querySelector('h1')?.textContent?.trim() ?? '';
  const furniture = [...document.querySelectorAll(FURNITURE)]
    .map((node) => (node.textContent ?? '').replace(/\s+/g, ' ').trim())
    .filter((text) => text !== '');
  const article = new Readability(document as never, { charThreshold: 200 }).parse();
  const main = article?.content ? markdownOf(article.content) : '';
  if (main.length < whole.length * LEAST_SHARE && furniture.join('').length < whole.length * LEAST_SHARE)
    return { kind: 'text', text: whole };
  if (main === '' || main.length === whole.length) return { kind: 'text', text: whole };
  const removed: RemovedText = {
    what: 'navigation and boilerplate',
    count: Math.max(1, furniture.length),
    examples: (furniture.length > 0 ? furniture : [`${whole.length - main.length} characters around the text`])
      .slice(0, 3)
      .map((text) => text.slice(0, 120)),
  };
  // The reader takes the title away from the text it titles.
  const text = title && !main.includes(title) ? `# ${title}\n\n${main}` : main;
  return { kind: 'text', text, removed: [removed] };
}
