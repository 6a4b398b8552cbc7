/** @file DOCX and EPUB: both are ZIP archives of XML, looked through for bombs before their text is read. */
import mammoth from 'mammoth';
import { posix } from 'node:path';
import { FettleError } from '../../contract/errors.ts';
import { parseDocument } from './dom.ts';
import { LARGE, markdownOf } from './html.ts';
import type { RawRecord, SourceFile } from './record.ts';
import { MAX_DOCUMENT_BYTES, readBytes, tidy } from './text.ts';
import { openZip, readEntry, type ZipEntry } from './zip.ts';

const NOTHING: RawRecord = { kind: 'bad', reason: 'an empty document', line: null, raw: '' };
/** All parts of a document together, unpacked. Pictures are most of it. */
const MAX_PARTS_BYTES = 8 * MAX_DOCUMENT_BYTES;

async function withParts<T>(file: SourceFile, read: (parts: readonly ZipEntry[]) => Promise<T>): Promise<T> {
  const zip = await openZip(file.path, file.name);
  try {
    const text = zip.entries.filter((entry) => /\.(xml|rels|x?html?|opf)$/i.test(entry.name));
    const large = text.some((entry) => entry.bytes > MAX_DOCUMENT_BYTES);
    if (large || zip.entries.reduce((sum, entry) => sum + entry.bytes, 0) > MAX_PARTS_BYTES)
      throw new FettleError('INPUT_INVALID', `${file.name} unpacks to more than a document holds.`, 'Save it as text.');
    return await read(zip.entries);
  } finally {
    zip.close();
  }
}

/** Of a text with its marks: the tree of it takes sixty times that. */
const MOST_STYLED_BYTES = 16 * 2 ** 20;

const damaged = (file: SourceFile, what: string, error: unknown): FettleError =>
  error instanceof FettleError
    ? error
    : new FettleError(
        'FORMAT_INVALID',
        `${file.name} is damaged: ${what} (${inOneLine((error as Error).message)}).`,
        'Open it in its own program and save it again.',
      );

/** What the parser of XML says, without its own marks and places that are none. */
const inOneLine = (message: string): string =>
  message
    .replace(/@#\[[^\]]*\]/g, '')
    .replace(/^(?:error: )?\[xmldom \w+\]\s*/, '')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 200);

export function readDocx(file: SourceFile): Promise<RawRecord> {
  return withParts(file, async (parts) => {
    if (!parts.some((part) => part.name === 'word/document.xml'))
      throw new FettleError('FORMAT_INVALID', `${file.name} is no Word document.`, 'Save it as DOCX again.');
    const bare = async (why: string): Promise<RawRecord | null> => {
      const text = await textAlone(parts);
      return text === null
        ? null
        : { kind: 'text', text, removed: [{ what: 'headings and lists', count: 1, examples: [why] }] };
    };
    if ((parts.find((part) => part.name === 'word/document.xml')?.bytes ?? 0) > MOST_STYLED_BYTES) {
      const record = await bare('the document is too large to keep them');
      if (record) return record;
    }
    const buffer = await readBytes(file);
    // Pictures are left out.
    const convertImage = mammoth.images.imgElement(() => Promise.resolve({ src: '' }));
    try {
      const first = await mammoth.convertToHtml({ buffer }, { convertImage });
      const styleMap = guessStyles(first.messages.map((message) => message.message));
      const { value } =
        styleMap.length > 0 ? await mammoth.convertToHtml({ buffer }, { convertImage, styleMap }) : first;
      const text = markdownOf(value);
      return text === '' ? NOTHING : { kind: 'text', text };
    } catch (error) {
      const record = await bare(inOneLine((error as Error).message));
      if (record) return record;
      throw damaged(file, 'its text cannot be read', error);
    }
  });
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** The paragraphs of a document whose styles, lists or notes are broken, while its text is whole; null where that is not. */
async function textAlone(parts: readonly ZipEntry[]): Promise<string | null> {
  const part = parts.find((entry) => entry.name === 'word/document.xml');
  const xml = part ? await readEntry(part).then(String, () => '') : '';
  if (!/<\/w:document>\s*$/.test(xml)) return null;
  const paragraphs = xml.split('</w:p>').map((paragraph) =>
    [...paragraph.matchAll(/<w:t(?:\s[^>]*)?>([^<]*)<\/w:t>|<w:(tab|br|cr)\b[^>]*\/>/g)]
      .map(([, text, mark]) => text ?? (mark === 'tab' ? '\t' : '\n'))
      .join('')
      .replace(/&(#x?)?(\w+);/g, (whole, number: string | undefined, name: string) => {
        if (number === undefined) return ENTITIES[name] ?? whole;
        const code = parseInt(name, number === '#x' ? 16 : 10);
        return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
      }),
  );
  const text = tidy(paragraphs.filter((paragraph) => paragraph.trim() !== '').join('\n\n'));
  return text === '' ? null : text;
}

/** What paragraph styles of a house's own are, by their names: headings by rank, code, lists. */
function guessStyles(messages: readonly string[]): string[] {
  const names = new Set(messages.flatMap((said) => /^Unrecognised paragraph style: '([^'\]]+)'/.exec(said)?.[1] ?? []));
  return [...names].flatMap((name) => {
    const rank = /^(?:head(?:ing|line)?|überschrift|titre)[ _-]?([A-F1-6])$/i.exec(name)?.[1]?.toUpperCase();
    const place = /^(?:chapter|document|book)?[ _-]?title$/i.test(name)
      ? 'h1'
      : rank
        ? `h${Math.min(6, ' ABCDEF'.includes(rank) ? ' ABCDEF'.indexOf(rank) + 1 : Number(rank))}`
        : /code|listing|verbatim|preformatted/i.test(name) && !/label|caption|title/i.test(name)
          ? "pre:separator('\n')"
          : /bullet|list/i.test(name)
            ? 'ul > li'
            : null;
    return place ? [`p[style-name='${name}'] => ${place}${place.startsWith('pre') ? '' : ':fresh'}`] : [];
  });
}

/** One document from all chapters, in the order of the spine. */
export function readEpub(file: SourceFile): Promise<RawRecord> {
  return withParts(file, async (parts) => {
    const part = async (name: string): Promise<string> => {
      const found = parts.find((entry) => entry.name === name);
      if (!found)
        throw new FettleError('FORMAT_INVALID', `${file.name} is damaged: ${name} is missing.`, 'Get it again.');
      return (await readEntry(found)).toString('utf8');
    };
    try {
      const container = parseDocument(await part('META-INF/container.xml'));
      const opf = container.querySelector('rootfile')?.getAttribute('full-path') ?? '';
      const packaged = parseDocument(await part(opf));
      const hrefs = new Map(
        [...packaged.querySelectorAll('manifest item')].map((item) => [
          item.getAttribute('id'),
          item.getAttribute('href') ?? '',
        ]),
      );
      const chapters: string[] = [];
      for (const item of packaged.querySelectorAll('spine itemref')) {
        const href = hrefs.get(item.getAttribute('idref'));
        if (!href) continue;
        const page = await part(posix.join(posix.dirname(opf), decodeURIComponent(href)));
        chapters.push(
          markdownOf(page.length > LARGE ? page : (parseDocument(page).querySelector('body')?.innerHTML ?? '')),
        );
      }
      const text = chapters.filter((chapter) => chapter !== '').join('\n\n');
      return text === '' ? NOTHING : { kind: 'text', text };
    } catch (error) {
      throw damaged(file, 'its chapters cannot be read', error);
    }
  });
}
