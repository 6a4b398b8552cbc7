/** @file Which language a row is written in, by trigrams (franc); only where there is enough text to tell. */
import { francAll } from 'franc-min';

/** Letters that are needed to tell, and looked at. */
const LEAST = 60;
const MOST = 600;
/** The second guess must lie that much behind the first (1.0). */
const LEAD = 0.03;

/** ISO 639-3, null where it cannot be told. */
export function languageOf(text: string): string | null {
  if (text.length < LEAST) return null;
  const [first, second] = francAll(text.slice(0, MOST), { minLength: LEAST });
  if (!first || first[0] === 'und') return null;
  return second && first[1] - second[1] < LEAD ? null : first[0];
}

const NAMES = new Intl.DisplayNames('en', { type: 'language' });
export function languageName(code: string): string {
  try {
    return NAMES.of(code) ?? code;
  } catch {
    return code;
  }
}
