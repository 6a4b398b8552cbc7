/** @file Every kind of file that people bring, and the broken and hostile ones among them. */
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import fc from 'fast-check';
import { PDFDocument, StandardFonts } from 'pdf-lib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ZipFile } from 'yazl';
import { csvRecords } from './csv.ts';
import { listFiles, readFile } from './index.ts';
import type { RawRecord } from './record.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'fettle-read-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
};
const scratch = (): string => join(folder, 'scratch');
async function read(path: string): Promise<RawRecord[]> {
  const { files, refused } = await listFiles([path], scratch());
  if (refused[0]) throw refused[0].error;
  const records: RawRecord[] = [];
  for (const each of files) for await (const block of readFile(each, {})) records.push(...block);
  return records;
}
const values = async (path: string): Promise<unknown[]> =>
  (await read(path)).flatMap((record) => (record.kind === 'value' ? [record.value] : []));
const text = async (path: string): Promise<string> => {
  const [record] = await read(path);
  expect(record?.kind).toBe('text');
  return record?.kind === 'text' ? record.text : '';
};
const refused = (path: string): Promise<unknown> =>
  read(path).then(
    () => null,
    (error: unknown) => error,
  );
async function zip(name: string, fill: (zip: ZipFile) => void): Promise<string> {
  const path = join(folder, name);
  const archive = new ZipFile();
  fill(archive);
  archive.end();
  await new Promise((done) => archive.outputStream.pipe(createWriteStream(path)).on('close', () => done(null)));
  return path;
}

describe('JSON', () => {
  it('is one row a line, whatever the line ends, with a mark of byte order or none', async () => {
    expect(await values(file('a.jsonl', '{"a":1}\r\n\r\n{"a":2}'))).toEqual([{ a: 1 }, { a: 2 }]);
    expect(await values(file('b.jsonl', '\ufeff{"a":1}\n'))).toEqual([{ a: 1 }]);
    expect(await values(file('c.jsonl', Buffer.from('{"a":"ü"}\n{"a":"é"}\n', 'utf16le')))).toEqual([
      { a: 'ü' },
      { a: 'é' },
    ]);
    expect(await values(file('d.jsonl', Buffer.from('{"a":"ü"}\n{"a":"é"}\n', 'latin1')))).toEqual([
      { a: 'ü' },
      { a: 'é' },
    ]);
  });

  it('is an array, an object around one, or lines in a file named .json', async () => {
    expect(await values(file('a.json', '[{"a":1},{"a":2}]'))).toHaveLength(2);
    expect(await values(file('b.json', '{"data":[{"a":1},{"a":2}]}'))).toHaveLength(2);
    expect(await values(file('c.json', '{"a":1}\n{"a":2}\n'))).toHaveLength(2);
  });

  it('loses one line to a line that is bad, of another encoding, or 40 MB long', async () => {
    const long = `{"a":"${'x'.repeat(40 * 2 ** 20)}"}`;
    const path = file('l.jsonl', `{"a":1}\n${long}\n{"a":2}\nnot json\n`);
    const before = process.memoryUsage().arrayBuffers;
    const records = await read(path);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(80 * 2 ** 20);
    expect(records).toMatchObject([
      { kind: 'value', line: 1 },
      { kind: 'bad', line: 2, reason: 'a line longer than 16 MB' },
      { kind: 'value', line: 3 },
      { kind: 'bad', line: 4, reason: 'not valid JSON', raw: 'not json' },
    ]);
  });

  it('of a large array, or of a list in a large object, is read as it streams, and loses one row to a row that is too long', async () => {
    const row = JSON.stringify({ q: `a "quote", a bracket ] and a \\ ${'x'.repeat(1000)}` });
    const rows = Array.from({ length: 20_000 }, () => row).join(',');
    for (const whole of [`[${rows}]`, `{"version": [1, "2"], "note": "[{", "data": [ ${rows} ]}`]) {
      const path = file('big.json', whole);
      const found = (await values(path)).filter((value) => typeof value === 'object');
      expect(found).toHaveLength(20_000);
      expect(found.at(-1)).toEqual(JSON.parse(row));
    }
    const long = JSON.stringify({ q: 'x'.repeat(40 * 2 ** 20) });
    const before = process.memoryUsage().arrayBuffers;
    const records = await read(file('long.json', `[{"a":1}, ${long}, {"a":2}, nonsense, [], {"a":3}]`));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(80 * 2 ** 20);
    expect(records).toMatchObject([
      { kind: 'value', value: { a: 1 } },
      { kind: 'bad', reason: 'a row longer than 16 MB', line: 2 },
      { kind: 'value', value: { a: 2 } },
      { kind: 'bad', reason: 'not valid JSON', line: 4 },
      { kind: 'value', value: [] },
      { kind: 'value', value: { a: 3 } },
    ]);
    expect(await refused(file('cut.json', `[${rows}`))).toMatchObject({ code: 'FORMAT_INVALID' });
  });

  it('that nests without end costs its row, or is refused', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    expect(await read(file('d.jsonl', `{"a":${deep}}\n{"a":"${'['.repeat(3000)}"}\n`))).toMatchObject([
      { kind: 'bad', reason: 'brackets within brackets, too deep', line: 1 },
      { kind: 'value', line: 2 },
    ]);
    expect(await refused(file('d.json', deep))).toMatchObject({ code: 'FORMAT_INVALID' });
  });
});

describe('a table', () => {
  it('has its delimiter, quotes and encoding found', async () => {
    const row = { Frage: 'Was; wie?', Antwort: 'So "eben"' };
    for (const [name, delimiter] of [
      ['a.csv', ','],
      ['b.csv', ';'],
      ['c.tsv', '\t'],
      ['d.csv', '|'],
    ] as const) {
      const lines = `Frage${delimiter}Antwort\n"Was; wie?"${delimiter}"So ""eben"""\n`;
      expect(await values(file(name, lines))).toEqual([row]);
    }
    expect(await values(file('l.csv', Buffer.from('a;b\nschön;Größe\n', 'latin1')))).toEqual([
      { a: 'schön', b: 'Größe' },
    ]);
    expect(
      await values(
        file('u.csv', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('a,b\nü,"x\ny"\n', 'utf16le')])),
      ),
    ).toEqual([{ a: 'ü', b: 'x\ny' }]);
  });

  it('that other programs wrote: a line that names the separator, empty columns, no head', async () => {
    expect(await values(file('e.csv', 'sep=;\r\nFrage;Antwort;;\r\nWo?;Da.;;\r\n'))).toMatchObject([
      { Frage: 'Wo?', Antwort: 'Da.' },
    ]);
    expect(await values(file('n.csv', 'a;b\n1;2;;\n'))).toEqual([{ a: '1', b: '2' }]);
    expect(await values(file('h.csv', 'How do I fix it?,Turn it.\nAnd then?,Wait.\n'))).toEqual([
      { 'column 1': 'How do I fix it?', 'column 2': 'Turn it.' },
      { 'column 1': 'And then?', 'column 2': 'Wait.' },
    ]);
    expect(await values(file('m.csv', 'a,b\r1,2\r'))).toEqual([{ a: '1', b: '2' }]);
  });

  it('whose first letter that is not ASCII stands late is read in its encoding, and a broken row is told apart', async () => {
    const plain = 'q,a\n' + 'what,that\n'.repeat(20_000);
    const latin = await values(file('l.csv', Buffer.from(`${plain}groß,schön\n`, 'latin1')));
    expect(latin.at(-1)).toEqual({ q: 'groß', a: 'schön' });
    expect(await text(file('l.txt', Buffer.from(`${plain}groß`, 'latin1')))).toContain('groß');
    const torn = Buffer.concat([Buffer.from('süß\ngroß\n'), Buffer.from('gro\xdf\n', 'latin1'), Buffer.from('klein')]);
    expect(await refused(file('torn.txt', torn))).toMatchObject({
      code: 'FILE_ENCODING',
      message: expect.stringContaining('line 3') as unknown,
    });
    const mixed = Buffer.concat([Buffer.from(`${plain}groß,schön\nklein,süß\n`), Buffer.from('gro\xdf,x\n', 'latin1')]);
    const records = await read(file('m.csv', mixed));
    expect(records.at(-1)).toMatchObject({ kind: 'bad', reason: 'bytes that are not UTF-8', line: 20_004 });
    expect(records.at(-2)).toMatchObject({ value: { q: 'klein', a: 'süß' } });
    const cell = `"${'ü'.repeat(3 * 2 ** 20)}"`;
    expect(await values(file('w.csv', `q,a\n${cell},b\nc,d\n`))).toMatchObject([{ a: 'b' }, { q: 'c' }]);
    expect((await values(file('w.csv', `q,a\n${cell},b\nc,ä\n`)))[1]).toEqual({ q: 'c', a: 'ä' });
    const lines = `${'{"q":"what"}\n'.repeat(100_000)}{"q":"groß"}\n{"q":"süß"}\n`;
    expect((await values(file('l.jsonl', Buffer.from(lines, 'latin1')))).at(-1)).toEqual({ q: 'süß' });
  });

  it('loses one line to a quote that is never closed, or to a row that is too long', async () => {
    expect(await read(file('q.csv', 'a,b\n1,2\n"open,3\n4,5\n'))).toMatchObject([
      { kind: 'value', line: 2 },
      { kind: 'bad', reason: 'a quote that is never closed', line: 3, raw: '"open,3' },
      { kind: 'value', value: { a: '4', b: '5' }, line: 4 },
    ]);
    // The next good quote closes it: what lies between would be swallowed.
    expect(await read(file('s.csv', 'a,b\n"open,3\n4,5\n"6","x\ny"\n'))).toMatchObject([
      { kind: 'bad', line: 2 },
      { kind: 'value', value: { a: '4', b: '5' }, line: 3 },
      { kind: 'value', value: { a: '6', b: 'x\ny' }, line: 4 },
    ]);
    const long = await read(file('l.csv', `a,b\n1,2\nx,${'y'.repeat(20 * 2 ** 20)}\n3,4\n`));
    expect(long).toMatchObject([
      { kind: 'value', line: 2 },
      { kind: 'bad', reason: 'a row longer than 16 MB', line: 3 },
      { kind: 'value', value: { a: '3', b: '4' }, line: 4 },
    ]);
  });

  it('reads the same wherever the pieces of it are cut', async () => {
    const cell = fc.string({ unit: fc.constantFrom('a', 'ü', '"', ',', '\n', '\r\n', ' ', ';'), maxLength: 8 });
    const quoted = (value: string): string => `"${value.replaceAll('"', '""')}"`;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 9 }),
        async (rows, size) => {
          const whole = rows.map((cells) => cells.map(quoted).join(',')).join('\n');
          async function* pieces(): AsyncGenerator<string> {
            for (let at = 0; at < whole.length; at += size) yield await Promise.resolve(whole.slice(at, at + size));
          }
          const options = { delimiter: ',', longest: 1000, width: () => 2 };
          const found = (await Array.fromAsync(csvRecords(pieces(), options))).flat();
          expect(found.map((record) => ('cells' in record ? record.cells : record.bad))).toEqual(rows);
        },
      ),
    );
  });

  it('tells rows of another width apart, and refuses 5,000 columns', async () => {
    expect(await read(file('r.csv', 'a,b\n1,2\n1,2,3\n1\n'))).toMatchObject([
      { kind: 'value', line: 2 },
      { kind: 'bad', reason: 'more cells than columns', line: 3 },
      { kind: 'bad', reason: 'fewer cells than columns', line: 4 },
    ]);
    const wide = Array.from({ length: 5000 }, (_, i) => `c${i}`).join(',');
    expect(await refused(file('w.csv', `${wide}\n${wide}\n`))).toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('5,000 columns') as unknown,
    });
  });

  it('is Parquet, whole or refused', async () => {
    const buffer = Buffer.from(
      parquetWriteBuffer({
        columnData: [
          { name: 'question', data: ['a', 'b'], type: 'STRING' },
          { name: 'n', data: [1n, 2n], type: 'INT64' },
        ],
      }),
    );
    expect(await values(file('t.parquet', buffer))).toEqual([
      { question: 'a', n: 1 },
      { question: 'b', n: 2 },
    ]);
    expect(await refused(file('cut.parquet', buffer.subarray(0, 60)))).toMatchObject({ code: 'FORMAT_INVALID' });
  });
});

describe('a document', () => {
  it('keeps headings, lists, tables and code of a page, and says what it left out', async () => {
    const body = 'The fork is checked before the wheel goes back in, and the nut is drawn up by hand first. '.repeat(8);
    const page = `<html><head><title>Forks</title></head><body><nav><a href="/">Home</a> <a href="/x">Shop</a></nav>
      <article><h1>Forks</h1><p>${body}</p><h2>Steps</h2><ul><li>Look</li><li>Turn</li></ul>
      <table><tr><th>Nut</th><th>Nm</th></tr><tr><td>M5</td><td>6</td></tr></table><pre><code>torque = 6</code></pre><p>${body}</p></article>
      <footer>© 2020 All rights reserved</footer><script>alert(1)</script></body></html>`;
    const [record] = await read(file('f.html', page));
    expect(record).toMatchObject({ kind: 'text', removed: [{ what: 'navigation and boilerplate' }] });
    const shown = record?.kind === 'text' ? record.text : '';
    for (const part of ['# Forks', '## Steps', 'Look', '| M5  | 6   |', 'torque = 6']) expect(shown).toContain(part);
    for (const part of ['Shop', 'All rights', 'alert']) expect(shown).not.toContain(part);
  });

  it('of text that is too large for one is several, cut between paragraphs, in bounded memory', async () => {
    const paragraph = `${'Größe und Maß in vielen Worten. '.repeat(60)}\n\n`;
    const path = file(
      'large.txt',
      Buffer.from(paragraph.repeat(Math.ceil((65 * 2 ** 20) / paragraph.length)), 'latin1'),
    );
    let parts = 0;
    let last = '';
    for await (const [record] of readFile({ path, name: 'large.txt', bytes: 66 * 2 ** 20 }, {})) {
      expect(record).toMatchObject({ kind: 'text', part: ++parts });
      last = record?.kind === 'text' ? record.text : '';
      expect(last.startsWith('Größe und') && last.endsWith('Worten.')).toBe(true);
      expect(last.length).toBeLessThan(9 * 2 ** 20);
    }
    expect(parts).toBeGreaterThan(6);
  });

  it('of a large page is read in pieces, and nothing is lost between them', async () => {
    const part = (i: number): string =>
      `<h2>Part ${i}</h2><p>Words of ${i}: ${'the nut is drawn up. '.repeat(20)}</p><ul><li>Look ${i}</li></ul><script>var a = "</p>"</script>`;
    const parts = Array.from({ length: 2500 }, (_, i) => part(i));
    const shown = await text(
      file('large.html', `<html><head><title>x</title></head><body>${parts.join('')}</body></html>`),
    );
    for (let i = 0; i < parts.length; i++) expect(shown).toContain(`## Part ${i}\n\nWords of ${i}: the`);
    expect(shown.match(/^- Look/gm)).toHaveLength(parts.length);
    expect(shown).not.toContain('var a');
  });

  it('of PDF loses its page furniture and gets its words back', async () => {
    const pdf = await PDFDocument.create();
    const font = await pdf.embedFont(StandardFonts.Helvetica);
    for (let page = 1; page <= 4; page++) {
      const sheet = pdf.addPage([400, 500]);
      const draw = (line: string, y: number, size = 11): void => sheet.drawText(line, { x: 40, y, size, font });
      draw('Brook & Bell Handbook', 480, 9);
      draw(`Chapter ${page}`, 440, 18);
      draw(`The wheel of part ${page} is taken out and the bear-`, 410);
      draw('ings are cleaned with care before the new grease', 396);
      draw('goes in.', 382);
      draw(`Page ${page} of 4`, 20, 9);
    }
    const [record] = await read(file('h.pdf', await pdf.save()));
    const shown = record?.kind === 'text' ? record.text : '';
    expect(shown).toContain('## Chapter 2');
    expect(shown).toContain('the bearings are cleaned with care before the new grease goes in.');
    expect(shown).not.toMatch(/Handbook|Page \d/);
    expect(record).toMatchObject({
      removed: [
        { what: 'page headers', count: 4 },
        { what: 'page numbers', count: 4 },
        { what: 'hyphens at line ends' },
      ],
    });
  });

  it('of PDF that was scanned, is locked, or cut short is refused with what to do', async () => {
    const pdf = await PDFDocument.create();
    pdf.addPage();
    const empty = await pdf.save();
    expect(await refused(file('s.pdf', empty))).toMatchObject({ hint: expect.stringContaining('OCR') as unknown });
    expect(await refused(file('cut.pdf', empty.subarray(0, 40)))).toMatchObject({ code: 'FORMAT_INVALID' });
    const locked = join(import.meta.dirname, '../../../test/fixtures/data/locked.pdf');
    expect(await refused(locked)).toMatchObject({ message: expect.stringContaining('password') as unknown });
  });

  it('of Word keeps its structure; a broken part is said, and costs no text', async () => {
    const word = (name: string, document: string, styles = ''): Promise<string> =>
      zip(name, (archive) => {
        const add = (path: string, xml: string): void => archive.addBuffer(Buffer.from(xml), path);
        add(
          '[Content_Types].xml',
          '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
        );
        add(
          '_rels/.rels',
          '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        );
        add('word/document.xml', document);
        if (styles === '') return;
        add(
          'word/_rels/document.xml.rels',
          '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>',
        );
        add('word/styles.xml', styles);
      });
    const body =
      '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Brakes</w:t></w:r></w:p><w:p><w:r><w:t>Check the pads &amp; bl&#xF6;cks.</w:t></w:r></w:p></w:body></w:document>';
    expect(await text(await word('b.docx', body))).toContain('Check the pads & blöcks.');
    expect(await refused(await word('broken.docx', body.slice(0, 150)))).toMatchObject({ code: 'FORMAT_INVALID' });
    const [bare] = await read(await word('styles.docx', body, '<w:styles xmlns:w="http://sch'));
    expect(bare).toMatchObject({
      text: 'Brakes\n\nCheck the pads & blöcks.',
      removed: [{ what: 'headings and lists' }],
    });
    expect(await refused(file('no.docx', 'not a zip'))).toMatchObject({ code: 'FORMAT_INVALID' });
  });

  it('of EPUB is read in the order of its spine', async () => {
    const path = await zip('b.epub', (archive) => {
      const add = (name: string, content: string): void => archive.addBuffer(Buffer.from(content), name);
      add(
        'META-INF/container.xml',
        '<?xml version="1.0"?><container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
      );
      add(
        'OPS/book.opf',
        '<?xml version="1.0"?><package><manifest><item id="b" href="two.xhtml"/><item id="a" href="one.xhtml"/></manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
      );
      add('OPS/one.xhtml', '<html><body><h1>One</h1><p>First.</p></body></html>');
      add('OPS/two.xhtml', '<html><body><h1>Two</h1><p>Second.</p></body></html>');
    });
    expect(await text(path)).toBe('# One\n\nFirst.\n\n# Two\n\nSecond.');
  });

  it('of plain text may be UTF-16 without a mark, or Windows-1252; NUL bytes go; noise is refused', async () => {
    expect(await text(file('a.txt', Buffer.from('Größe und Maß, in vielen Worten', 'utf16le')))).toContain('Größe');
    expect(await text(file('b.txt', Buffer.from('caf\xe9 \x93quoted\x94', 'latin1')))).toBe('café “quoted”');
    expect(await text(file('c.txt', 'a\0b'))).toBe('ab');
    expect(
      await refused(file('d.txt', Buffer.from(Array.from({ length: 400 }, (_, i) => (i * 37) % 32)))),
    ).toMatchObject({ code: 'FILE_ENCODING' });
    expect(await refused(file('e.txt', ''))).toMatchObject({ code: 'FILE_EMPTY' });
  });
});

describe('an archive', () => {
  it('gives its readable files under its own name', async () => {
    const path = await zip('m.zip', (archive) => {
      archive.addBuffer(Buffer.from('{"a":1}\n'), 'rows.jsonl');
      archive.addBuffer(Buffer.from('Text.'), 'notes/a.md');
      archive.addBuffer(Buffer.from('x'), '__MACOSX/a.md');
      archive.addBuffer(Buffer.from('x'), 'photo.png');
      archive.addBuffer(Buffer.from('x'), 'inner.zip');
    });
    const { files, refused: rest } = await listFiles([path], scratch());
    expect(files.map(({ name }) => name)).toEqual(['m.zip/notes/a.md', 'm.zip/rows.jsonl']);
    expect(rest).toMatchObject([{ name: 'm.zip/*.png' }, { name: 'm.zip/*.zip' }]);
  });

  /** Rewrites a name in an archive by one of the same length. */
  const renamed = (path: string, from: string, to: string): string => {
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf(from); at >= 0; at = bytes.indexOf(from, at + 1)) bytes.write(to, at);
    writeFileSync(path, bytes);
    return path;
  };

  it('with names that climb, links, or a bomb is refused before anything is written', async () => {
    const climbing = await zip('c.zip', (archive) => archive.addBuffer(Buffer.from('x'), 'aa/bb/evil.txt'));
    expect(await refused(renamed(climbing, 'aa/bb/evil', '../../evil'))).toMatchObject({ code: 'INPUT_INVALID' });
    const absolute = await zip('a.zip', (archive) => archive.addBuffer(Buffer.from('x'), 'aetc/evil.txt'));
    expect(await refused(renamed(absolute, 'aetc/', '/etc/'))).toMatchObject({ code: 'INPUT_INVALID' });
    const link = await zip('l.zip', (archive) =>
      archive.addBuffer(Buffer.from('/etc/passwd'), 'p.txt', { mode: 0o120777 }),
    );
    expect(await refused(link)).toMatchObject({ message: expect.stringContaining('links') as unknown });
    const bomb = await zip('b.zip', (archive) => archive.addBuffer(Buffer.alloc(64 * 2 ** 20), 'zeros.txt'));
    expect(await refused(bomb)).toMatchObject({ message: expect.stringContaining('bomb') as unknown });
    expect(existsSync(join(folder, 'evil.txt'))).toBe(false);
    expect(existsSync(scratch())).toBe(false);
  });

  it('or folder that is called as another one keeps its files apart', async () => {
    file('a/notes/x.md', 'One.');
    file('b/notes/x.md', 'Two.');
    const { files } = await listFiles([join(folder, 'a/notes'), join(folder, 'b/notes')], scratch());
    expect(files.map(({ name }) => name)).toEqual(['notes/x.md', 'notes/x (2).md']);
  });

  it('that cannot be read does not keep the rest of a folder out', async () => {
    file('f/good.txt', 'Good.');
    file('f/bad.zip', 'no archive');
    file('f/.hidden.txt', 'no');
    file('f/a.xlsx', 'x');
    file('f/b.xlsx', 'x');
    symlinkSync('/etc/passwd', join(folder, 'f/link.txt'));
    const { files, refused: bad } = await listFiles([join(folder, 'f')], scratch());
    expect(files.map(({ name }) => name)).toEqual(['f/good.txt']);
    expect(bad.map(({ name, error }) => [name, error.code, error.message])).toMatchObject([
      ['f/bad.zip', 'FORMAT_INVALID', expect.any(String) as unknown],
      ['f/*.xlsx', 'FORMAT_UNKNOWN', '2 files of a kind that Fettle cannot read.'],
      ['f/ (links)', 'FORMAT_UNKNOWN', '1 link, which is not followed.'],
    ]);
  });
});
