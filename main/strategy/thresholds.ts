/** @file Every number that the advice rests on, in one table, each with where it comes from. `reasoning` marks what no study settles. */

interface Threshold {
  readonly value: number;
  readonly unit: string;
  readonly basis: 'source' | 'reasoning';
  readonly from: string;
}

export const THRESHOLDS = {
  pairsFloor: {
    value: 50,
    unit: 'different pairs',
    basis: 'reasoning',
    from: 'A practitioners’ floor: gains are said to show from 50 to 100 good examples on (OpenAI’s fine-tuning guide, as it is widely quoted; not looked up at its source). Below that, examples in the prompt are the cheaper try.',
  },
  pairsUsable: {
    value: 200,
    unit: 'different pairs',
    basis: 'reasoning',
    from: 'Between the floor of 50 and the 1,000 of LIMA; with a tenth held out, 20 unseen rows are the fewest that give a useful margin.',
  },
  pairsComfortable: {
    value: 500,
    unit: 'different pairs',
    basis: 'reasoning',
    from: 'Half of what was enough for a whole assistant (Zhou et al. 2023, LIMA: 1,000 chosen pairs); one job or a few need less.',
  },
  pairsPlenty: {
    value: 1000,
    unit: 'different pairs',
    basis: 'source',
    from: '1,000 carefully chosen pairs gave a strong assistant (Zhou et al. 2023, LIMA).',
  },
  proseStyle: {
    value: 10_000,
    unit: 'tokens of prose',
    basis: 'reasoning',
    from: 'Some twenty pages: enough to shift style a little, never knowledge. Below it there is nothing to read.',
  },
  proseField: {
    value: 200_000,
    unit: 'tokens of prose',
    basis: 'reasoning',
    from: 'A long book. Studies of continued pre-training use far more (a 125M model gained from 400M tokens: Faroz 2025); this is where style and words of a field come through, not its facts.',
  },
  prosePlenty: {
    value: 1_000_000,
    unit: 'tokens of prose',
    basis: 'reasoning',
    from: 'The upper end of the scale that is drawn; more is welcome.',
  },
  clear: {
    value: 0.65,
    unit: 'of the scale from broad (0) to specific (1)',
    basis: 'reasoning',
    from: 'The answers “one job” and “a few related jobs” lie above it.',
  },
  broad: {
    value: 0.35,
    unit: 'of the scale from broad (0) to specific (1)',
    basis: 'reasoning',
    from: 'The answer “our field” lies below it.',
  },
  variety: {
    value: 0.3,
    unit: 'distinct openings a pair',
    basis: 'reasoning',
    from: 'Diversity and quality counted more than amount (LIMA); below this, most pairs begin alike.',
  },
  noise: {
    value: 0.1,
    unit: 'of the rows dropped or duplicated',
    basis: 'reasoning',
    from: 'One row in ten that had to go says that others may be doubtful too.',
  },
  alreadyDoes: {
    value: 0.85,
    unit: 'token F1 (SQuAD) of the model’s own answers, lower end of the margin',
    basis: 'reasoning',
    from: 'From here an answer differs from the expected one by about one word in seven: people who answer the same questions agree about that much (human F1 on SQuAD: 0.868, Rajpurkar et al. 2016), so there is little left to learn.',
  },
  graded: {
    value: 8,
    unit: 'graded answers',
    basis: 'reasoning',
    from: 'With fewer, the margin of their mean is too wide to say that a model already does it.',
  },
  proseRepeated: {
    value: 0.25,
    unit: 'of the five-word sequences stood there before',
    basis: 'reasoning',
    from: 'Measured here: 0.2% in a handbook, 9% in a technical book with code, 48% where every page carries the same footer, 82% in filled-in forms. Repeated text is learned by heart: without it models emit memorised text ten times less often (Lee et al. 2022).',
  },
  proseTypes: {
    value: 200,
    unit: 'different words in 1,000',
    basis: 'reasoning',
    from: 'Measured here: 400 to 500 in essays and handbooks, 320 in a technical book, 300 in a licence, 90 in filled-in forms. Below 200 it is lists and forms rather than prose.',
  },
  proseMeasurable: {
    value: 2000,
    unit: 'words',
    basis: 'reasoning',
    from: 'Two windows of 1,000 words: in less, neither variety nor repetition says anything yet.',
  },
  pairsAlike: {
    value: 0.8,
    unit: 'of the pairs are different',
    basis: 'reasoning',
    from: 'One pair in five that repeats another is more than chance; diversity counted more than amount (LIMA).',
  },
  pairsJudgeable: {
    value: 20,
    unit: 'pairs',
    basis: 'reasoning',
    from: 'In fewer, two that begin alike already look like a lack of variety.',
  },
  close: {
    value: 1.1,
    unit: 'times a threshold',
    basis: 'reasoning',
    from: 'What cleaning usually takes away: up to a tenth (see noise).',
  },
  sureLeast: {
    value: 0.55,
    unit: 'confidence at most, no question answered',
    basis: 'reasoning',
    from: 'Data alone say what can be learned, not what is wanted: hardly more than even.',
  },
  sureMost: {
    value: 0.95,
    unit: 'confidence at most, all questions answered',
    basis: 'reasoning',
    from: 'A rule of thumb about people is never certain; the pilot and the comparison measure.',
  },
  sureNever: {
    value: 0.05,
    unit: 'confidence at least',
    basis: 'reasoning',
    from: 'The first rule that fits is still the best there is, however little it rests on.',
  },
  contradiction: {
    value: 0.1,
    unit: 'confidence taken off for each contradiction',
    basis: 'reasoning',
    from: 'Each means that one of two statements is wrong; four of them leave little to go on.',
  },
  verySure: {
    value: 0.88,
    unit: 'confidence for “very sure”',
    basis: 'reasoning',
    from: 'About seven of eight neighbouring situations get the same advice.',
  },
  fairlySure: {
    value: 0.72,
    unit: 'confidence for “fairly sure”',
    basis: 'reasoning',
    from: 'About three of four neighbouring situations get the same advice.',
  },
  leaning: {
    value: 0.5,
    unit: 'confidence for “leaning this way”',
    basis: 'reasoning',
    from: 'At least half of the neighbouring situations get the same advice.',
  },
  heldOut: {
    value: 20,
    unit: 'held-out rows',
    basis: 'reasoning',
    from: 'With fewer, the 95% margin of a comparison is about as wide as a usual gain.',
  },
} as const satisfies Readonly<Record<string, Threshold>>;

/** Tokens per word of ordinary English prose: reasoning. The data page counts them once a model is chosen. */
export const TOKENS_PER_WORD = 1.35;
