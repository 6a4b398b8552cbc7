/** @file Text that the bundled starter model learns from: a small world, told in many ways by a seeded generator. All of it is Fettle's own. */
import { Random } from '../../main/engine/random.ts';

export interface Turn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}
/** A text, or a conversation. */
export type Piece = { readonly text: string } | { readonly messages: readonly Turn[] };

interface Person {
  readonly name: string;
  readonly they: 'he' | 'she';
  readonly trade: (typeof TRADES)[number];
}

const HER = ['Anna', 'Clara', 'Edith', 'Greta', 'Ines', 'Kira', 'Martha', 'Olga', 'Rosa', 'Tilda', 'Vera', 'Yara'];
const HIM = ['Bruno', 'David', 'Felix', 'Hugo', 'Jonas', 'Leon', 'Nils', 'Oskar', 'Paul', 'Simon', 'Viktor', 'Willem'];
const TRADES = [
  { is: 'a baker', place: 'the bakery', thing: 'oven', makes: 'bread', fault: 'will not get hot' },
  { is: 'a gardener', place: 'the garden', thing: 'pump', makes: 'beans', fault: 'draws no water' },
  { is: 'a nurse', place: 'the clinic', thing: 'lamp', makes: 'lists', fault: 'flickers' },
  { is: 'a carpenter', place: 'the workshop', thing: 'saw', makes: 'tables', fault: 'has lost its edge' },
  { is: 'a clerk', place: 'the office', thing: 'printer', makes: 'letters', fault: 'eats the paper' },
  { is: 'a teacher', place: 'the school', thing: 'clock', makes: 'plans', fault: 'runs ten minutes slow' },
  { is: 'a ferryman', place: 'the landing', thing: 'engine', makes: 'crossings', fault: 'coughs and stops' },
  { is: 'a tailor', place: 'the shop', thing: 'needle', makes: 'coats', fault: 'bends at once' },
  { is: 'a beekeeper', place: 'the orchard', thing: 'scale', makes: 'honey', fault: 'shows the wrong weight' },
  { is: 'a librarian', place: 'the library', thing: 'ladder', makes: 'lists of books', fault: 'has a loose step' },
] as const;
const PLACES = ['the market', 'the harbour', 'the station', 'the park', 'the old bridge', 'the town hall', 'the mill'];
const WEATHER = ['It was raining', 'The sun was out', 'A cold wind blew', 'Snow lay on the roofs', 'The fog was thick'];
const WEATHER_AFTER = ['the rain had stopped', 'the wind had gone down', 'the sky was clear', 'it had grown dark'];
const DAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const COLOURS = ['red', 'blue', 'green', 'yellow', 'white', 'black', 'brown', 'grey'];
const THINGS = [
  'a coat',
  'a basket',
  'a book',
  'a cup',
  'a lamp',
  'a box',
  'a scarf',
  'an umbrella',
  'a chair',
  'a bell',
];
const FOODS = ['apples', 'onions', 'eggs', 'potatoes', 'pears', 'carrots', 'plums', 'leeks'];
const NUMBERS = ['two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'twelve'];
const ANIMALS = ['dog', 'cat', 'hen', 'goat', 'horse', 'goose'];
const OPPOSITES = [
  ['hot', 'cold'],
  ['early', 'late'],
  ['full', 'empty'],
  ['loud', 'quiet'],
  ['wide', 'narrow'],
  ['heavy', 'light'],
  ['open', 'closed'],
  ['young', 'old'],
  ['wet', 'dry'],
  ['near', 'far'],
] as const;
const PLURALS = [
  ['cup', 'cups'],
  ['box', 'boxes'],
  ['child', 'children'],
  ['leaf', 'leaves'],
  ['city', 'cities'],
  ['mouse', 'mice'],
  ['bus', 'buses'],
  ['knife', 'knives'],
  ['tooth', 'teeth'],
  ['key', 'keys'],
] as const;
const KINDS = {
  tools: ['a hammer', 'a saw', 'a file', 'a plane', 'a drill'],
  fruits: ['an apple', 'a pear', 'a plum', 'a cherry', 'a quince'],
  animals: ['a dog', 'a goat', 'a hen', 'a horse', 'a hare'],
  trees: ['an oak', 'a birch', 'a lime', 'a fir', 'an elm'],
  rooms: ['a kitchen', 'a hall', 'a cellar', 'a study', 'an attic'],
} as const;

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** An endless supply of pieces; the same seed gives the same ones. */
export class World {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  piece(): Piece {
    const kinds = [
      this.#day,
      this.#thing,
      this.#note,
      this.#recipe,
      this.#talk,
      this.#asked,
      this.#asked,
      this.#task,
      this.#task,
    ];
    return this.#pick(kinds).call(this);
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#random.int(list.length)]!;
  }
  #chance(share: number): boolean {
    return this.#random.next() < share;
  }
  /** Several that are all different. */
  #some<T>(list: readonly T[], count: number): T[] {
    const rest = [...list];
    return Array.from({ length: count }, () => rest.splice(this.#random.int(rest.length), 1)[0]!);
  }
  #person(): Person {
    const they = this.#chance(0.5) ? 'she' : 'he';
    return { name: this.#pick(they === 'she' ? HER : HIM), they, trade: this.#pick(TRADES) };
  }
  #other({ name }: Person): Person {
    for (;;) {
      const found = this.#person();
      if (found.name !== name) return found;
    }
  }

  /** A day on which something breaks and is mended. */
  #story(): { readonly who: Person; readonly helper: Person; readonly day: string; readonly text: string } {
    const who = this.#person();
    const helper = this.#other(who);
    const day = this.#pick(DAYS);
    const { thing, fault, place, makes, is } = who.trade;
    const open = this.#pick([
      `On ${day} ${who.name} came to ${place} early.`,
      `${who.name} is ${is}. On ${day} ${who.they} was at ${place} before anybody else.`,
      `It was ${day}, and ${who.name}, who is ${is}, unlocked ${place}.`,
    ]);
    const trouble = this.#pick([
      `The ${thing} was the trouble: “It ${fault},” ${who.they} said.`,
      `But the ${thing} was not as it should be. “It ${fault}.”`,
      `“The ${thing} ${fault},” ${who.they} said aloud, though nobody was there.`,
    ]);
    const help = this.#pick([
      `${capital(who.they)} sent for ${helper.name}, who knows about such things.`,
      `${helper.name} happened to pass by and looked in.`,
      `So ${who.they} asked ${helper.name} for help.`,
    ]);
    const cure = this.#pick([
      `${helper.name} cleaned it, tightened one screw, and it worked again.`,
      `${helper.name} took it apart on the table and found a grain of sand.`,
      `${helper.name} had brought a spare part, and in half an hour it was done.`,
    ]);
    const end = this.#pick([
      `By evening ${this.#pick(WEATHER_AFTER)}, and there were ${makes} enough for everybody.`,
      `${who.name} thanked ${helper.name} with a pot of tea.`,
      `After that ${who.they} went home along ${this.#pick(PLACES)}.`,
    ]);
    return { who, helper, day, text: [open, `${this.#pick(WEATHER)}.`, trouble, help, cure, end].join(' ') };
  }

  #day(): Piece {
    const { text } = this.#story();
    return { text: this.#chance(0.5) ? text : `${text}\n\n${this.#story().text}` };
  }

  #thing(): Piece {
    const who = this.#person();
    const [colour, other] = this.#some(COLOURS, 2) as [string, string];
    const thing = this.#pick(THINGS);
    const bare = thing.split(' ')[1]!;
    return {
      text: [
        `${who.name} has ${thing}. It is ${colour}.`,
        this.#pick([
          `${capital(who.they)} bought it at ${this.#pick(PLACES)} for ${this.#pick(NUMBERS)} coins.`,
          `It was a present from ${this.#other(who).name}.`,
          `Nobody knows how old it is.`,
        ]),
        this.#pick([
          `Once the ${bare} was ${other}, but that was long ago.`,
          `When it is not in use, the ${bare} hangs behind the door.`,
          `${who.name} would not give the ${bare} away for a ${other} one.`,
        ]),
      ].join(' '),
    };
  }

  #note(): Piece {
    const [from, to] = [this.#person(), this.#person()];
    const day = this.#pick(DAYS);
    const body = this.#pick([
      `I shall be at ${this.#pick(PLACES)} on ${day} at ${this.#pick(NUMBERS)} o'clock. Please bring ${this.#pick(THINGS)}.`,
      `The ${to.trade.thing} is mended. You can fetch it on ${day}, and it costs nothing.`,
      `There are ${this.#pick(NUMBERS)} ${this.#pick(FOODS)} left over. Would you like to have them?`,
    ]);
    return {
      text: `Dear ${to.name},\n\n${body}\n\n${this.#pick(['Yours', 'With kind regards', 'Until then'])},\n${from.name}`,
    };
  }

  #recipe(): Piece {
    const [a, b] = this.#some(FOODS, 2) as [string, string];
    const [n, m] = [this.#pick(NUMBERS), this.#pick(NUMBERS)];
    return {
      text: [
        `# ${capital(a)} with ${b}`,
        '',
        `- ${n} ${a}`,
        `- ${m} ${b}`,
        '- salt and a little butter',
        '',
        `1. Wash the ${a} and cut them into pieces.`,
        `2. ${this.#pick(['Boil', 'Steam', 'Fry'])} the ${b} for ${this.#pick(NUMBERS)} minutes.`,
        `3. Put the ${a} with the ${b}, add salt, and stir.`,
        `4. Serve it ${this.#pick(['hot', 'warm', 'with bread'])}.`,
      ].join('\n'),
    };
  }

  #talk(): Piece {
    const [a, b] = [this.#person(), this.#person()];
    const animal = this.#pick(ANIMALS);
    const place = this.#pick(PLACES);
    return {
      text: [
        `“Have you seen the ${animal}?” asked ${a.name}.`,
        this.#pick([
          `“Not since ${this.#pick(DAYS)},” said ${b.name}.`,
          `“It was at ${place} an hour ago,” said ${b.name}.`,
        ]),
        this.#pick([`“Then I must look for it.”`, `“It always comes back when it is hungry.”`]),
        `They found the ${animal} at ${place}, asleep.`,
      ].join(' '),
    };
  }

  /** A story with a question that it answers. */
  #asked(): Piece {
    const { who, helper, day, text } = this.#story();
    const [question, answer] = this.#pick([
      ['Who mended it?', `${helper.name} mended it.`],
      ['On which day was it?', `It was on ${day}.`],
      ['What was broken?', `The ${who.trade.thing} was broken.`],
      ['Where did it happen?', `It happened at ${who.trade.place}.`],
      [`What is ${who.name}?`, `${who.name} is ${who.trade.is}.`],
    ] as const);
    return this.#exchange(`${text}\n\n${question}`, answer);
  }

  #task(): Piece {
    const [a, b] = [1 + this.#random.int(20), 1 + this.#random.int(20)];
    const day = this.#random.int(7);
    const [word, other] = this.#pick(OPPOSITES);
    const [one, many] = this.#pick(PLURALS);
    const kind = this.#pick(Object.keys(KINDS) as (keyof typeof KINDS)[]);
    const list = this.#some(KINDS[kind], 3);
    const who = this.#person();
    const [question, answer] = this.#pick([
      [`How much is ${a} and ${b} together?`, `${a} and ${b} make ${a + b}.`],
      [`Take ${Math.min(a, b)} away from ${Math.max(a, b)}.`, `That leaves ${Math.max(a, b) - Math.min(a, b)}.`],
      [`Which day comes after ${DAYS[day]!}?`, `After ${DAYS[day]!} comes ${DAYS[(day + 1) % 7]!}.`],
      [`Say the opposite of “${word}”.`, `The opposite of “${word}” is “${other}”.`],
      [`Give me the plural of “${one}”.`, `The plural of “${one}” is “${many}”.`],
      [`Name three ${kind}.`, `${capital(list[0]!)}, ${list[1]!} and ${list[2]!}.`],
      [
        `Write a short note to ${who.name} that the ${who.trade.thing} is mended.`,
        `Dear ${who.name},\n\nthe ${who.trade.thing} is mended. You can fetch it at any time.\n\nYours`,
      ],
      [`Say it again in capitals: ${word} and ${other}`, `${word.toUpperCase()} AND ${other.toUpperCase()}`],
    ] as const);
    return this.#exchange(question, answer);
  }

  #exchange(question: string, answer: string): Piece {
    return {
      messages: [
        { role: 'user', content: question },
        { role: 'assistant', content: answer },
      ],
    };
  }
}
