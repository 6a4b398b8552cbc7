/** @file Answers that refuse or evade: a model that learns them says them. English, German, French and Spanish openings. */

/** Of an answer, that much is looked at. */
const OPENING = 200;
const REFUSALS = [
  /^(?:i['’]?m|i am|we['’]?re|we are) (?:very |really |so |truly )?sorry,? (?:but|i can|i am|i'm|that i)/i,
  /^(?:sorry|apologies|unfortunately),? (?:but )?(?:i|as an)\b.{0,40}\b(?:can(?:no|['’])?t|unable|not able|won['’]t)/i,
  /\bas an? (?:ai|a\.i\.|artificial intelligence|language model|large language model)\b/i,
  /^i (?:can(?:not|['’]t)|am unable to|['’]?m unable to|am not able to|won['’]t) (?:help|assist|provide|answer|do|comply|fulfil)/i,
  /^(?:es tut mir leid|leider kann ich)|\bals (?:ki|sprachmodell)\b/i,
  /^je suis désolée?|\ben tant qu['’](?:ia|intelligence artificielle|modèle de langage)/i,
  /^lo siento|\bcomo (?:ia|inteligencia artificial|modelo de lenguaje)\b/i,
];

export const isRefusal = (answer: string): boolean => {
  const opening = answer.slice(0, OPENING);
  return REFUSALS.some((pattern) => pattern.test(opening));
};
