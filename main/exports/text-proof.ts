/** @file The part of the proof that needs no weights: whether exported files cut, frame and end text as the run does. A wrong one is gibberish elsewhere, whatever the weights. */
import type { Proof } from '../contract/entities.ts';
import type { ChatTemplate, TextFiles } from '../formats/model.ts';
import { CONVERSATIONS } from '../formats/ollama.ts';

type TextProof = NonNullable<Proof['text']>;

/**
 * @param asked tokens of prompts and rows, as the run has them.
 * @param stops whether the files say what ends an answer.
 */
export function proveText(
  run: TextFiles,
  files: TextFiles,
  asked: readonly (readonly number[] | Int32Array)[],
  stops = true,
): TextProof {
  const faults: string[] = [];
  const texts = asked.map((ids) => run.tokenizer.decode([...ids]));
  const forms = CONVERSATIONS.map((messages) => ({
    wanted: formOf(run.chatTemplate, messages),
    found: formOf(files.chatTemplate, messages),
  }));
  const otherForms = forms.filter(({ wanted, found }) => wanted !== found).length;
  if (!run.chatTemplate !== !files.chatTemplate)
    faults.push(files.chatTemplate ? 'they hold a chat template of their own' : 'the chat template is missing');
  else if (otherForms > 0) faults.push(`${otherForms} of ${forms.length} conversations take another form`);
  const all = [...texts, ...forms.flatMap(({ wanted }) => wanted ?? [])];
  const otherTokens = all.filter((text) => !sameTokens(run, files, text)).length;
  if (otherTokens > 0) faults.push(`${otherTokens} of ${all.length} texts are cut into other tokens`);
  const otherTexts = asked.filter((ids, i) => files.tokenizer.decode([...ids]) !== texts[i]).length;
  if (otherTexts > 0) faults.push(`the tokens of ${otherTexts} of ${texts.length} texts are read as other words`);
  if (String(run.tokenizer.startIds) !== String(files.tokenizer.startIds))
    faults.push(`a text begins with ${named(files.tokenizer.startIds)} in place of ${named(run.tokenizer.startIds)}`);
  if (stops) {
    const missing = run.stopIds.filter((id) => !files.stopIds.includes(id));
    const added = files.stopIds.filter((id) => !run.stopIds.includes(id));
    if (missing.length > 0) faults.push(`an answer does not end at ${named(missing)}`);
    if (added.length > 0) faults.push(`an answer ends at ${named(added)}`);
  }
  return { texts: all.length, faults };
}

const named = (ids: readonly number[]): string => (ids.length === 0 ? 'no token' : `token ${ids.join(', ')}`);

/** Null where the template takes no such conversation, or there is none. */
function formOf(template: ChatTemplate | null, messages: (typeof CONVERSATIONS)[number]): string | null {
  try {
    return template?.render(messages, { addGenerationPrompt: true }) ?? null;
  } catch {
    // Templates refuse system messages, or turns that do not alternate; one that refuses alike is alike.
    return null;
  }
}

/** Control tokens written in the text known, as a template needs it, and not, as people's words are read. */
const sameTokens = (run: TextFiles, files: TextFiles, text: string): boolean =>
  [true, false].every(
    (parseSpecial) =>
      String(run.tokenizer.encode(text, { parseSpecial })) === String(files.tokenizer.encode(text, { parseSpecial })),
  );
