/** @file 500 varied texts for comparing tokenizers: those written by hand, and generated ones with characters of every plane. The same on every run. */
import { WRITTEN } from './written.mjs';

/** Mulberry32: a small generator, good enough to vary texts. */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** Blocks that are whole since long before the Unicode data of any of the tokenizers: a character added lately is a letter to one, unassigned to the other. */
const BLOCKS = [
  [0x20, 0x7e],
  [0xa0, 0x17f],
  [0x180, 0x24f],
  [0x300, 0x36f],
  [0x391, 0x3c9],
  [0x400, 0x52f],
  [0x5d0, 0x5ea],
  [0x610, 0x6ff],
  [0x905, 0x939],
  [0xe01, 0xe3a],
  [0x10d0, 0x10ff],
  [0x1e00, 0x1eff],
  [0x2000, 0x206f],
  [0x2070, 0x209c],
  [0x20a0, 0x20bf],
  [0x2100, 0x218b],
  [0x2190, 0x23ff],
  [0x2460, 0x24ff],
  [0x2500, 0x27bf],
  [0x2e80, 0x2e99],
  [0x3000, 0x30ff],
  [0x3400, 0x4db5],
  [0x4e00, 0x9fa5],
  [0xa000, 0xa48c],
  [0xac00, 0xd7a3],
  [0xe000, 0xf8ff],
  [0xf900, 0xfa6d],
  [0xfe00, 0xfe0f],
  [0xff01, 0xffef],
  [0x10000, 0x1000b],
  [0x10330, 0x1034a],
  [0x12000, 0x12399],
  [0x13000, 0x1342e],
  [0x1d100, 0x1d126],
  [0x1d400, 0x1d454],
  [0x1d7ce, 0x1d7ff],
  [0x1f000, 0x1f02b],
  [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6d2],
  [0x1f910, 0x1f93a],
  [0x20000, 0x2a6d6],
  [0x2a700, 0x2b734],
  [0x2f800, 0x2fa1d],
  [0x30000, 0x3134a],
  [0x40000, 0xdffff],
  [0xe0100, 0xe01ef],
  [0xf0000, 0xffffd],
  [0x100000, 0x10fffd],
];
const WORDS =
  'the of and to in is it you that he was for on are with as his they at be this from I have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know'.split(
    ' ',
  );
const SPACES = [
  ' ',
  '  ',
  '   ',
  '\t',
  '\n',
  '\n\n',
  '\r\n',
  ' \n',
  '\n ',
  '\u00a0',
  '\u0085',
  '\u2003',
  '\u3000',
  '\u2028',
];
const GLUE = ['', '', ' ', ' ', '1', 'a', '.', '\n', "'s", '  ', '-', '_', '<|im_end|>'];

function generated(count) {
  const below = random(20241124);
  const pick = (list) => list[below(list.length)];
  const character = ([from, to]) => String.fromCodePoint(from + below(to - from + 1));
  const many = (least, most, make) => Array.from({ length: least + below(most - least + 1) }, make).join('');
  const makers = [
    () => many(2, 12, () => character(pick(BLOCKS))),
    () => many(2, 12, () => character(pick(BLOCKS)) + pick(GLUE)),
    () => {
      const block = pick(BLOCKS);
      return many(3, 16, () => character(block) + (below(4) === 0 ? pick(GLUE) : ''));
    },
    () => many(3, 20, () => pick(WORDS) + pick([' ', ' ', ' ', ', ', '. ', '; ', ' (', ') ', '\n', '-', "'s ", '!'])),
    () => many(1, 10, () => pick(SPACES) + pick([...SPACES, ...WORDS, '7', '!', 'é', '語'])),
    () =>
      many(
        1,
        8,
        () => String(below(10 ** (1 + below(9)))) + pick([' ', ',', '.', '', 'e', '\n', ' + ', '%', '٣', '½']),
      ),
    () =>
      many(
        1,
        6,
        () =>
          pick(['if', 'for', 'x', 'foo_bar', 'return', 'class', 'null']) +
          pick(['(', ')', '{\n    ', '}\n', ';\n', ' = ', '\t', ' == ', '[0]', '->', '::', '//', '"', "'"]),
      ),
    () => many(30, 400, () => character([0x61, 0x7a])),
  ];
  return Array.from({ length: count }, (_, i) => makers[i % makers.length]());
}

export const TEXTS = [
  ...WRITTEN,
  'a'.repeat(3000),
  'x\u0301'.repeat(500),
  ' '.repeat(700),
  '漢'.repeat(600),
  '7'.repeat(600),
];
TEXTS.push(...generated(500 - TEXTS.length));
