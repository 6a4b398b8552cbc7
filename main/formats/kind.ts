/** @file Base or instruct: what the files say of how a model was trained, with the evidence in plain words. */
import type { ModelFiles } from './model.ts';

/** Tokens with which chat models mark the end of a turn. */
const TURN_ENDS = ['<|im_end|>', '<|eot_id|>', '<|end|>', '<end_of_turn>', '<|endofturn|>', '[/INST]'];
const INSTRUCT_NAME = /(^|[-_ .])(instruct|chat|it|sft|assistant)([-_ .]|$)/i;

export interface KindClues {
  readonly name: string | null;
  readonly template: string | null;
  readonly stopTokens: readonly string[];
}

/** A chat template, a name that says so, or an answer that ends with a turn's mark speak for instruct; two of three decide, the template alone does too unless the name says base. */
export function kindOf({ name, template, stopTokens }: KindClues): ModelFiles['kind'] {
  const named = name !== null && INSTRUCT_NAME.test(name);
  const base = name !== null && /(^|[-_ .])base([-_ .]|$)/i.test(name);
  const turnEnd = stopTokens.find((token) => TURN_ENDS.includes(token));
  const evidence = [
    template ? 'It brings a chat template.' : 'It brings no chat template.',
    ...(named ? [`Its name says so: ${name}.`] : base ? [`Its name says that it is a base model: ${name}.`] : []),
    turnEnd
      ? `Its answers end with ${turnEnd}, the mark of a turn.`
      : 'Its text ends with an end-of-text token, not with a turn’s mark.',
  ];
  const clues = [template !== null, named, turnEnd !== undefined].filter(Boolean).length;
  const instruct = !base && (clues >= 2 || (template !== null && clues >= 1));
  return { value: instruct ? 'instruct' : 'base', evidence };
}

/** Marks of a turn's end that a template writes, as ids: an answer ends there even where the configuration forgot to say so. */
export function turnEndIds(template: string | null, special: ReadonlyMap<number, string>): number[] {
  if (template === null) return [];
  return [...special]
    .filter(([, content]) => TURN_ENDS.includes(content) && content.startsWith('<') && template.includes(content))
    .map(([id]) => id);
}
