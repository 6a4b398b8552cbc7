/** @file Personal data in text: mail addresses, telephone, card and identity numbers. Found by form and, where there is one, by check digit; marked, never judged. */
import type { PersonalKind } from '../../contract/entities.ts';

export interface Found {
  readonly kind: PersonalKind;
  readonly start: number;
  readonly end: number;
}

const MAIL = /[\p{L}\p{N}._%+-]{1,64}@(?:[\p{L}\p{N}-]{1,63}\.){1,4}\p{L}{2,24}/gu;
const IBAN = /\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b/g;
/** US social security, UK national insurance. */
const IDENTITY =
  /\b(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b|\b[A-CEGHJ-PR-TW-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b/g;
const CARD = /\b\d(?:[ -]?\d){12,18}\b/g;
/** A plus or a zero in front, or brackets, and groups: bare long numbers are order numbers more often than telephones. */
const PHONE =
  /(?<![\p{L}\p{N}.,/-])(?:\+\d{1,3}[ .-]?|\(\d{2,5}\)[ .-]?|0\d{1,4}[ /.-])\d{1,5}(?:[ .-]?\d{2,6}){1,4}(?![\p{L}\p{N}])|(?<![\p{L}\p{N}.,/-])\d{3}[ .-]\d{3}[ .-]\d{4}(?![\p{L}\p{N}])/gu;

/** In the order of the text, none overlapping. A quick look first: most text has neither @ nor many digits. */
export function findPersonal(text: string): Found[] {
  const mail = text.includes('@');
  const digits = /\d\D{0,3}\d\D{0,3}\d\D{0,3}\d\D{0,3}\d\D{0,3}\d/.test(text);
  if (!mail && !digits) return [];
  const found: Found[] = [];
  const take = (kind: PersonalKind, pattern: RegExp, good: (match: string) => boolean = () => true): void => {
    for (const match of text.matchAll(pattern)) {
      const [start, end] = [match.index, match.index + match[0].length];
      if (good(match[0]) && !found.some((it) => start < it.end && end > it.start)) found.push({ kind, start, end });
    }
  };
  if (mail) take('mail', MAIL);
  if (digits) {
    take('id-number', IBAN, ibanHolds);
    take('card', CARD, luhnHolds);
    take('id-number', IDENTITY);
    take('phone', PHONE, (match) => match.replace(/\D/g, '').length >= 7 && match.replace(/\D/g, '').length <= 15);
  }
  return found.sort((a, b) => a.start - b.start);
}

export const PERSONAL_WORDS: Readonly<Record<PersonalKind, string>> = {
  mail: 'mail address',
  phone: 'telephone number',
  card: 'card number',
  'id-number': 'identity number',
};

/** The text with each find of these kinds replaced by its kind in brackets, and how many there were. */
export function maskPersonal(text: string, kinds: ReadonlySet<PersonalKind>): { text: string; masked: number } {
  const found = findPersonal(text).filter((it) => kinds.has(it.kind));
  let out = '';
  let at = 0;
  for (const { kind, start, end } of found) {
    out += `${text.slice(at, start)}[${PERSONAL_WORDS[kind]}]`;
    at = end;
  }
  return { text: out + text.slice(at), masked: found.length };
}

/** Luhn's check digit (ISO/IEC 7812-1), and no number of one digit repeated. */
function luhnHolds(text: string): boolean {
  const digits = [...text.replace(/\D/g, '')].map(Number);
  if (new Set(digits).size < 2) return false;
  const sum = digits.toReversed().reduce((total, digit, i) => {
    const double = i % 2 === 1 ? digit * 2 : digit;
    return total + (double > 9 ? double - 9 : double);
  }, 0);
  return sum % 10 === 0;
}

/** ISO 13616: the number read with letters as 10 to 35 leaves 1 modulo 97. */
function ibanHolds(text: string): boolean {
  const plain = text.replaceAll(' ', '');
  let rest = 0;
  for (const sign of plain.slice(4) + plain.slice(0, 4)) rest = Number(`${rest}${parseInt(sign, 36)}`) % 97;
  return rest === 1;
}
