/** @file The seven questions of the strategy guide, in plain words: what is asked, why, an example, and the answers one may give. */
import { FettleError } from '../contract/errors.ts';
import type { Answers, Question } from '../contract/entities.ts';

export const QUESTIONS: readonly Question[] = [
  {
    id: 'task',
    axis: 'goal-clarity',
    text: 'What should the model do for you when it is tuned?',
    why: 'One job that can be shown by example is learned from examples. A whole field is learned by reading.',
    example: 'A practice that writes referral letters from notes answered “one job”.',
    options: [
      { value: 'one-job', label: 'One job, the same every time', note: 'Write this letter, fill this form' },
      { value: 'few-jobs', label: 'A few related jobs', note: 'Answer, summarise and sort the same kind of thing' },
      { value: 'field', label: 'Know how our field talks and writes', note: 'Its words, its style, its habits' },
      { value: 'unsure', label: 'I cannot say yet' },
    ],
  },
  {
    id: 'check',
    axis: 'goal-clarity',
    text: 'Could you tell a good answer from a bad one?',
    why: 'What can be checked can be shown by example, and measured afterwards.',
    example: '“It greets by name, gives the finding, asks one thing” is a check that can be written down.',
    options: [
      { value: 'yes', label: 'Yes, I could write down what I look for' },
      { value: 'by-feel', label: 'Yes, when I see it' },
      { value: 'no', label: 'Not really' },
    ],
  },
  {
    id: 'change',
    axis: 'goal-clarity',
    text: 'Do the facts in its answers change?',
    why: 'Tuning fixes what was true on the day of training. Facts that change belong in the question, or are looked up.',
    example: 'Prices and stock change weekly: look them up. The tone of a reply does not: tune it.',
    options: [
      { value: 'stable', label: 'Hardly ever' },
      { value: 'yearly', label: 'A few times a year' },
      { value: 'often', label: 'Every week or oftener' },
    ],
  },
  {
    id: 'cite',
    axis: 'goal-clarity',
    text: 'Must it say where it found something?',
    why: 'A tuned model cannot point to its source: it has no memory of where it read a thing. Looking up (retrieval) can.',
    example: 'A legal answer with the paragraph it rests on needs looking up, whatever else is done.',
    options: [
      { value: 'no', label: 'No' },
      { value: 'sometimes', label: 'Sometimes' },
      { value: 'always', label: 'Yes, always' },
    ],
  },
  {
    id: 'flexibility',
    axis: 'flexibility',
    text: 'May it get worse at other things, to be better at this one?',
    why: 'Learning one thing closely can cost others (forgetting).',
    example: 'A team that also summarises with the same model answered “a little”.',
    options: [
      { value: 'yes', label: 'Yes, this is its only work' },
      { value: 'a-little', label: 'A little' },
      { value: 'no', label: 'No, it must keep everything' },
    ],
  },
  {
    id: 'variety',
    axis: 'flexibility',
    text: 'How much alike are the things people will ask it?',
    why: 'Examples teach what they show. What people ask beyond them is answered as well as before, or worse.',
    example: 'Complaints about deliveries are alike; a help desk for everything is not.',
    options: [
      { value: 'alike', label: 'Much alike' },
      { value: 'varied', label: 'Varied, but of one field' },
      { value: 'anything', label: 'Anything at all' },
    ],
  },
  {
    id: 'material',
    axis: 'data',
    text: 'What do you have for it to learn from?',
    why: 'Finished examples and plain text teach different things. What you import is measured and counts for more than this answer.',
    example: 'Two hundred answered e-mails are finished examples; a handbook is text.',
    options: [
      { value: 'pairs', label: 'Finished examples', note: 'What was asked, and the right answer to it' },
      { value: 'text', label: 'Text of our own', note: 'Handbooks, reports, articles' },
      { value: 'both', label: 'Both' },
      { value: 'little', label: 'A handful of examples, or nothing yet' },
    ],
  },
];

/** The label of an answer, or null where the question is open. */
export function answerLabel(answers: Answers, id: string): string | null {
  const question = QUESTIONS.find((each) => each.id === id);
  return question?.options.find((option) => option.value === answers[id])?.label ?? null;
}

/** Throws INPUT_INVALID for an unknown question or an answer that is not among its options. */
export function checkAnswers(answers: Answers): void {
  for (const [id, value] of Object.entries(answers)) {
    const question = QUESTIONS.find((each) => each.id === id);
    if (!question)
      throw new FettleError(
        'INPUT_INVALID',
        `There is no question named ${JSON.stringify(id)}.`,
        `The questions are: ${QUESTIONS.map((each) => each.id).join(', ')}.`,
      );
    if (!question.options.some((option) => option.value === value))
      throw new FettleError(
        'INPUT_INVALID',
        `${JSON.stringify(value)} is not an answer to “${question.text}” (${id}).`,
        `It may be: ${question.options.map((option) => option.value).join(', ')}.`,
      );
  }
}
