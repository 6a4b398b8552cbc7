/** @file Searches bytes for words that must not be in them, in whatever way they may be written there. */
import { gunzipSync, inflateRawSync, inflateSync } from 'node:zlib';

/** The words that are found, each with the way in which it stands there. */
export function traces(bytes: Buffer, words: readonly string[]): string[] {
  return pieces(bytes).flatMap(({ how, content }) => {
    // Of text, letters of either size count.
    const text = content.toString('latin1').toLowerCase();
    return words.flatMap((word) =>
      [...writings(word)]
        .filter(([, written]) => text.includes(written.toLowerCase()))
        .map(([as]) => `${word} as ${as}${how}`),
    );
  });
}

/** Ways in which a word is written, as bytes that are read as Latin-1. */
function writings(word: string): Map<string, string> {
  const utf16 = Buffer.from(word, 'utf16le');
  const ways = new Map<string, string>([
    ['UTF-8', Buffer.from(word).toString('latin1')],
    ['UTF-16 LE', utf16.toString('latin1')],
    ['UTF-16 BE', Buffer.from(utf16).swap16().toString('latin1')],
    ['part of an address', encodeURIComponent(word)],
    ['JSON', JSON.stringify(word).slice(1, -1)],
    ['hexadecimal digits', Buffer.from(word).toString('hex')],
  ]);
  // In base64 a word looks otherwise by where it begins; what its neighbours change is cut off.
  for (const before of [0, 1, 2]) {
    const encoded = Buffer.from('\0'.repeat(before) + word)
      .toString('base64')
      .replaceAll('=', '');
    const whole = Math.floor(((before + Buffer.byteLength(word)) * 8) / 6);
    ways.set(`base64, ${before} bytes on`, encoded.slice(Math.ceil((before * 8) / 6), whole));
  }
  return ways;
}

/** The bytes, and what is packed in them: entries of ZIP, gzip, and the parts of a PNG. */
function pieces(bytes: Buffer): { readonly how: string; readonly content: Buffer }[] {
  const found = [{ how: '', content: bytes }];
  const packed = (how: string, unpack: () => Buffer): void => {
    try {
      found.push({ how: `, ${how}`, content: unpack() });
    } catch {
      // These bytes only look like it.
    }
  };
  for (let at = bytes.indexOf('PK\x03\x04'); at >= 0; at = bytes.indexOf('PK\x03\x04', at + 4)) {
    if (at + 30 > bytes.length) break;
    const data = at + 30 + bytes.readUInt16LE(at + 26) + bytes.readUInt16LE(at + 28);
    packed('in a ZIP', () => inflateRawSync(bytes.subarray(data)));
  }
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) packed('in gzip', () => gunzipSync(bytes));
  if (bytes.subarray(1, 4).toString() === 'PNG')
    for (let at = 8; at + 12 <= bytes.length; at += 12 + bytes.readUInt32BE(at)) {
      const [name, end] = [bytes.toString('latin1', at + 4, at + 8), at + 8 + bytes.readUInt32BE(at)];
      const chunk = bytes.subarray(at + 8, end);
      if (name === 'zTXt' || name === 'iTXt')
        packed(`in ${name}`, () => inflateSync(chunk.subarray(chunk.indexOf(0) + 2)));
    }
  return found;
}
