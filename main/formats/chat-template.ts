/** @file A model's own chat template, run by an interpreter that knows no files, no network and no JavaScript. */
import { Template } from '@huggingface/jinja';
import { FettleError } from '../contract/errors.ts';
import type { ChatTemplate } from './model.ts';

/** No template that is in use comes near. */
const MOST_CHARACTERS = 200_000;
/** A template that grows its text beyond so many times what it was given runs away. */
const MOST_OUTPUT = 4_000_000;

export interface TemplateTokens {
  readonly bosToken: string | null;
  readonly eosToken: string | null;
}

/** @throws TEMPLATE_FAILED where the template cannot be parsed. */
export function chatTemplate(source: string, { bosToken, eosToken }: TemplateTokens): ChatTemplate {
  if (source.length > MOST_CHARACTERS) throw failed(`it has ${source.length} characters`);
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw failed(wordsOf(error), error);
  }
  return {
    source,
    render(messages, { addGenerationPrompt = false } = {}) {
      let text: string;
      try {
        text = template.render({
          messages: messages.map(({ role, content }) => ({ role, content })),
          add_generation_prompt: addGenerationPrompt,
          bos_token: bosToken ?? '',
          eos_token: eosToken ?? '',
          // Templates that print today's date would give other tokens tomorrow.
          date_string: '26 Jul 2024',
        });
      } catch (error) {
        throw failed(wordsOf(error), error);
      }
      if (text.length > MOST_OUTPUT) throw failed('its output grew without bounds');
      return text;
    },
  };
}

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const failed = (why: string, cause?: unknown): FettleError =>
  new FettleError(
    'TEMPLATE_FAILED',
    `The model’s chat template failed: ${why}.`,
    'Check the roles and their order in the data, or choose another model.',
    { cause },
  );
