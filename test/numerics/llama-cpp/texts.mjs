/**
 * @file 500 varied texts for comparing tokenizers: everyday prose in many scripts, code, digits, whitespace, marks, emoji, control
 * characters, special tokens, halves of surrogate pairs, very long words, and random characters of every plane. The same on every run.
 */

const WRITTEN = [
  'Hello, world!',
  'The quick brown fox jumps over the lazy dog.',
  "It's what they'd said: we've won, you're next, I'm sure she'll call.",
  "IT'S WHAT THEY'D SAID: WE'VE WON, YOU'RE NEXT, I'M SURE SHE'LL CALL.",
  "'s't're've'm'll'd 'S'T'RE'VE'M'LL'D 'sa 'x '' ''s",
  'don’t ‘single’ “double” «guillemets» „unten“ — dash – en-dash … ellipsis',
  'snake_case camelCase PascalCase SCREAMING_SNAKE kebab-case dot.case',
  'e-mail: someone@example.org, https://example.org/a/b?c=d&e=%20f#g',
  '0 1 12 123 1234 12345 123456 1234567 12345678 123456789 1234567890',
  '3.14159 -2.71828 1e-10 0x1F 0b1010 1_000_000 1,234,567.89 50% $9.99 €5 £3 ¥700',
  'x1 1x x12y34 a1b2c3 v2.0.1-rc.3 2024-11-24T08:50:28Z 12:34:56.789',
  'half ½ third ⅓ roman Ⅷ ⅸ circled ① ⑳ super x² y³ sub H₂O arabic ٠١٢٣ devanagari १२३ full １２３ thai ๑๒๓',
  '(a+b)*c/d-e%f^g&h|i~j!k<l>m=n==o!=p<=q>=r&&s||t<<u>>v',
  'function f(x) {\n\treturn x ** 2; // square\n}\n\nconst y = f(3);',
  'def f(x):\n    """Doc."""\n    if x > 0:\n        return [i for i in range(x)]\n    return None\n',
  '#include <stdio.h>\n\nint main(void) {\n  printf("%d\\n", 42);\n  return 0;\n}\n',
  'SELECT name, COUNT(*) FROM t WHERE id IN (1, 2, 3) GROUP BY name HAVING COUNT(*) > 1;',
  '<div class="a b" id=\'c\'>\n  <p>Text &amp; more</p>\n</div>',
  '{"a": [1, 2.5, null, true], "b": {"c": "d\\u00e9"}}',
  '| a | b |\n|---|---|\n| 1 | 2 |\n\n- [ ] todo\n- [x] done\n\n> quote\n\n```js\nlet a;\n```',
  'fn main() { let v: Vec<&\'static str> = vec!["a", "b"]; println!("{:?}", v); }',
  '\\frac{a}{b} + \\sum_{i=0}^{n} x_i^2 = \\int_0^1 f(x)\\,dx',
  '$ git commit -m "fix: it\'s done" && npm run -s test | tee out.log 2>&1',
  '\r\n', '\r', '\n', '\t', ' ', '  ', '   ', '    ', '\n\n', '\r\n\r\n', '\n\r', '\t\t', ' \n', '\n ', ' \t ', '\v\f', ' \r\n ',
  'line one\r\nline two\r\n\r\nline four', 'a\rb\rc', 'trailing space ', 'trailing spaces   ', ' leading', '   leading three', '\tleading tab',
  'a  b   c    d     e      f', 'a\n\nb\n\n\nc\n\n\n\nd', 'a \n b \n\n c', 'a\t\tb\t c \td', 'x   1', 'x  123', '  1', '   !', '\n\n1', '\t1', '\t!', '\ta',
  'end of line   \n   start of line', 'many                                                                    spaces',
  'non-breaking\u00a0space\u00a0\u00a0two', 'a\u0085b', '\u0085', ' \u0085 \u0085x', 'a\u2028b\u2029c', 'em\u2003en\u2002thin\u2009hair\u200afigure\u2007', 'ideographic\u3000space\u3000\u3000two',
  'ogham\u1680space mathematical\u205fspace narrow\u202fspace', 'zero\u200bwidth\u200cnon\u200djoiner', 'byte order\ufeffmark', '\ufeffat the start', ' \ufeff \ufeff1', 'mongolian\u180evowel', 'soft\u00adhyphen', 'word\u2060joiner',
  '\u0000', 'a\u0000b', '\u0001\u0002\u0003\u001b[31mred\u001b[0m\u007f', '\u0080\u009f', 'bell\u0007',
  'café naïve résumé Ångström façade jalapeño', 'cafe\u0301 nai\u0308ve A\u030angstro\u0308m', 'e\u0301\u0302\u0303\u0304\u0305', '\u0301 starts with a mark', 'a\u20dd b\u20e3 c\u0489',
  'Z̸̡͎a̷l̴g̶o̵ ̷t̶e̷x̴t̸', 'ﬁ ﬂ ﬀ ﬃ ligatures', 'ＦＵＬＬ　ＷＩＤＴＨ　ｔｅｘｔ', 'ʰʷʲ modifiers ˈstress ːlength', 'İstanbul ıspanak ŞĞÜÖÇ ſtraße ẞ',
  'Καλημέρα κόσμε, τι κάνεις;', 'Привет, мир! Как дела? Ёжик.', 'Здравей, свят', 'Բարեւ աշխարհ', 'გამარჯობა მსოფლიო', 'ᲒᲐᲛᲐᲠᲯᲝᲑᲐ',
  'مرحبا بالعالم، كيف حالك؟', 'السَّلَامُ عَلَيْكُمْ', 'سلام دنیا ۱۲۳۴', 'שלום עולם', 'שָׁלוֹם', 'ܫܠܡܐ', 'አማርኛ ሰላም', 'नमस्ते दुनिया', 'ক্ষমা করবেন', 'வணக்கம் உலகம்', 'ನಮಸ್ಕಾರ', 'ਸਤ ਸ੍ਰੀ ਅਕਾਲ', 'สวัสดีชาวโลก', 'ສະບາຍດີ', 'မင်္ဂလာပါ', 'ជំរាបសួរ', 'བོད་སྐད།',
  '你好，世界！今天天气怎么样？', '這是繁體中文。', 'こんにちは世界。カタカナ、ひらがな、漢字。ｶﾀｶﾅ', '안녕하세요 세계! ㄱㄴㄷ', '\u1100\u1161\u11a8', 'Xin chào thế giới, tiếng Việt', '中文English混合123文字',
  '𠜎𠜱𠝹𠱓 extension B', '𪚥 𫝀 𫠠 𬺡 𮯠 𰀀 𱍐', '豈更車 compatibility', '〇一二三 〡〢〣', '㍿ ㋿ ㊗ ㌔',
  '😀😃😄 😁', '👍🏽 👩‍💻 👨‍👩‍👧‍👦 🏳️‍🌈 🏴‍☠️', '🇩🇪🇫🇷🇯🇵🇺🇸', '☺️ ☺︎ ❤️ ⚡ ✓ ✗ ★ ☆ ♥ ♦', '1️⃣ 2️⃣ #️⃣ *️⃣ 🔟', '🏴󠁧󠁢󠁥󠁮󠁧󠁿 flag of England', 'text🙂text 🙂 text', '🙂\n🙂\r\n🙂', '🫠🫡🫢🪿🫨',
  '𝒜𝓁𝓅𝒽𝒶 𝔹𝕖𝕥𝕒 𝟙𝟚𝟛 𝟎𝟏', '𐍈𐌰𐌹 𐎀𐎁 𓀀𓁐𓂀 𒀀𒁀 𐤀𐤁', '𞤀𞤁𞤂 𞸀𞸁', '𐄀𐄁 𐅀 𐆚', '🀄🃏🁢', 'musical 𝄞𝅘𝅥𝅮',
  '\ue000\uf8ff private', '\u{f0000}\u{ffffd} private 15', '\u{100000}\u{10fffd} private 16', '\ufffe\uffff noncharacters \u{1fffe}\u{10ffff}', '\ufffd replacement', '\u{e0001}\u{e0041} tags', '\u{40000}\u{5ffff} unassigned planes',
  '\ud83d', '\ude00', 'half \ud83d pair', '\ude00\ud83d swapped', '\ud800\ud800\udc00\udc00', 'a\ud83d1 \udfff!', '\ud83d \ud83d\ude00 \ude00',
  '<|im_start|>', '<|im_end|>', '<|endoftext|>', '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n', 'text <|im_end|> text', 'text<|im_end|>text', '  <|im_end|>  ', '\n<|im_end|>\n', '<|im_end|><|im_end|>',
  '<|im_start|>system\nYou are.<|im_end|>\n<|im_start|>user\n1 + 1 = ?<|im_end|>\n', '<|im_end', 'im_end|>', '<|IM_END|>', '< |im_end|>', '<|im_end|', '<|<|im_end|>|>', '<repo_name>', '<reponame>a/b<file_sep>c.py\n<gh_stars>', '<filename>x<issue_start><issue_comment><issue_closed>',
  '<jupyter_start><jupyter_text>t<jupyter_code>1<jupyter_output>2<jupyter_script><empty_output>', '1<|im_end|>2', '<s></s><unk><pad>', '[INST] hi [/INST]', '<|eot_id|><|begin_of_text|><0x0A>', '▁▁a ▁b', 'Ġhello Ċ ĉ', 'â–Â',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'hahahahahahahahahaha', '!!!!!!!!!!!!!!!!!!!!', '....................', '--------------------', '====================', '____________________', '????!!!!????', '*******', '#### Title', '"""\'\'\'```',
  'supercalifragilisticexpialidocious antidisestablishmentarianism', 'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft', 'pneumonoultramicroscopicsilicovolcanoconiosis'.repeat(3),
];

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
  [0x20, 0x7e], [0xa0, 0x17f], [0x180, 0x24f], [0x300, 0x36f], [0x391, 0x3c9], [0x400, 0x52f], [0x5d0, 0x5ea], [0x610, 0x6ff], [0x905, 0x939], [0xe01, 0xe3a],
  [0x10d0, 0x10ff], [0x1e00, 0x1eff], [0x2000, 0x206f], [0x2070, 0x209c], [0x20a0, 0x20bf], [0x2100, 0x218b], [0x2190, 0x23ff], [0x2460, 0x24ff], [0x2500, 0x27bf], [0x2e80, 0x2e99], [0x3000, 0x30ff],
  [0x3400, 0x4db5], [0x4e00, 0x9fa5], [0xa000, 0xa48c], [0xac00, 0xd7a3], [0xe000, 0xf8ff], [0xf900, 0xfa6d], [0xfe00, 0xfe0f], [0xff01, 0xffef],
  [0x10000, 0x1000b], [0x10330, 0x1034a], [0x12000, 0x12399], [0x13000, 0x1342e], [0x1d100, 0x1d126], [0x1d400, 0x1d454], [0x1d7ce, 0x1d7ff], [0x1f000, 0x1f02b], [0x1f300, 0x1f64f], [0x1f680, 0x1f6d2], [0x1f910, 0x1f93a],
  [0x20000, 0x2a6d6], [0x2a700, 0x2b734], [0x2f800, 0x2fa1d], [0x30000, 0x3134a], [0x40000, 0xdffff], [0xe0100, 0xe01ef], [0xf0000, 0xffffd], [0x100000, 0x10fffd],
];
const WORDS = 'the of and to in is it you that he was for on are with as his they at be this from I have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know'.split(' ');
const SPACES = [' ', '  ', '   ', '\t', '\n', '\n\n', '\r\n', ' \n', '\n ', '\u00a0', '\u0085', '\u2003', '\u3000', '\u2028'];
const GLUE = ['', '', ' ', ' ', '1', 'a', '.', '\n', "'s", '  ', '-', '_', '<|im_end|>'];

function generated(count) {
  const below = random(20241124);
  const pick = (list) => list[below(list.length)];
  const character = ([from, to]) => String.fromCodePoint(from + below(to - from + 1));
  const many = (least, most, make) => Array.from({ length: least + below(most - least + 1) }, make).join('');
  const makers = [
    () => many(2, 12, () => character(pick(BLOCKS))),
    () => many(2, 12, () => character(pick(BLOCKS)) + pick(GLUE)),
    () => { const block = pick(BLOCKS); return many(3, 16, () => character(block) + (below(4) === 0 ? pick(GLUE) : '')); },
    () => many(3, 20, () => pick(WORDS) + pick([' ', ' ', ' ', ', ', '. ', '; ', ' (', ') ', '\n', '-', "'s ", '!'])),
    () => many(1, 10, () => pick(SPACES) + pick([...SPACES, ...WORDS, '7', '!', 'é', '語'])),
    () => many(1, 8, () => String(below(10 ** (1 + below(9)))) + pick([' ', ',', '.', '', 'e', '\n', ' + ', '%', '٣', '½'])),
    () => many(1, 6, () => pick(['if', 'for', 'x', 'foo_bar', 'return', 'class', 'null']) + pick(['(', ')', '{\n    ', '}\n', ';\n', ' = ', '\t', ' == ', '[0]', '->', '::', '//', '"', "'"])),
    () => many(30, 400, () => character([0x61, 0x7a])),
  ];
  return Array.from({ length: count }, (_, i) => makers[i % makers.length]());
}

export const TEXTS = [...WRITTEN, 'a'.repeat(3000), 'x\u0301'.repeat(500), ' '.repeat(700), '漢'.repeat(600), '7'.repeat(600)];
TEXTS.push(...generated(500 - TEXTS.length));
