/** @file How a conversation is put to a model that brings no chat template: plain words that its tokenizer knows anyway. */
import { chatTemplate } from './chat-template.ts';
import type { ChatTemplate, ModelFiles } from './model.ts';

/** Each answer ends with the end-of-text token, the one mark that every base model knows; what follows it is not said by the model. */
const PLAIN_TEMPLATE =
  "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}" +
  "{% elif message['role'] == 'user' %}{{ '### Question\\n' + message['content'] + '\\n\\n' }}" +
  "{% else %}{{ '### Answer\\n' + message['content'] + eos_token + '\\n\\n' }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '### Answer\\n' }}{% endif %}";

/** The model's own template, else the plain one: every place where a conversation meets a model asks here. */
export function conversationTemplate({
  chatTemplate: own,
  tokenizer,
}: Pick<ModelFiles, 'chatTemplate' | 'tokenizer'>): ChatTemplate {
  if (own) return own;
  // Written as text it must be read back as the token; where it would not, the examples add the token themselves.
  const [first] = tokenizer.startIds;
  const bosToken = first === undefined ? null : (tokenizer.special.get(first) ?? null);
  const eosToken = tokenizer.eosId === null ? null : (tokenizer.special.get(tokenizer.eosId) ?? null);
  return chatTemplate(bosToken ? `{{ bos_token }}${PLAIN_TEMPLATE}` : PLAIN_TEMPLATE, { bosToken, eosToken });
}
