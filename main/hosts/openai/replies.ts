/** @file Answers and errors in OpenAI's form. */
import type { ErrorCode } from '../../contract/errors.ts';
import type { FettleError } from '../../contract/errors.ts';
import type { Told } from '../../talk/generation.ts';

/** What went wrong, as OpenAI's clients read it. */
export class ApiError extends Error {
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;

  constructor(
    status: number,
    message: string,
    { param = null, code = null }: { param?: string | null; code?: string | null } = {},
  ) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
  }
}

const KNOWN: Partial<Record<ErrorCode, readonly [status: number, code: string | null]>> = {
  MODEL_NOT_FOUND: [404, 'model_not_found'],
  CHECKPOINT_NOT_FOUND: [404, 'model_not_found'],
  PROMPT_TOO_LONG: [400, 'context_length_exceeded'],
  INPUT_INVALID: [400, null],
  TEMPLATE_FAILED: [400, null],
  MEMORY_SHORT: [503, 'memory_short'],
  INTERRUPTED: [503, null],
};
export function apiError({ code, message, hint }: FettleError): ApiError {
  const [status, known] = KNOWN[code] ?? [500, null];
  return new ApiError(status, hint ? `${message} ${hint}` : message, { code: known });
}

export const errorBody = ({ status, message, param, code }: ApiError): object => ({
  error: { message, type: status < 500 ? 'invalid_request_error' : 'server_error', param, code },
});

export interface Replied {
  readonly id: string;
  readonly model: string;
  /** Seconds since 1970. */
  readonly created: number;
}
export const usageOf = ({ answer, promptTokens }: Told): object => ({
  prompt_tokens: promptTokens,
  completion_tokens: answer.tokens,
  total_tokens: promptTokens + answer.tokens,
});
const finishOf = ({ answer }: Told): 'stop' | 'length' => (answer.stopReason === 'length' ? 'length' : 'stop');

/** The two forms differ in how text is wrapped: a message that grows, or plain text. */
export interface ReplyForm {
  readonly prefix: string;
  whole(head: Replied, told: Told): object;
  /** The first one of a stream; null where there is none. */
  opening(head: Replied): object | null;
  piece(head: Replied, text: string): object;
  closing(head: Replied, told: Told): object;
  usage(head: Replied, told: Told): object;
}

const chunk = (
  object: string,
  { id, model, created }: Replied,
  choices: readonly object[],
  more: object = {},
): object => ({
  id,
  object,
  created,
  model,
  choices,
  ...more,
});

export const CHAT: ReplyForm = {
  prefix: 'chatcmpl-',
  whole: (head, told) =>
    chunk(
      'chat.completion',
      head,
      [
        {
          index: 0,
          message: { role: 'assistant', content: told.answer.text, refusal: null },
          logprobs: null,
          finish_reason: finishOf(told),
        },
      ],
      { usage: usageOf(told) },
    ),
  opening: (head) => delta(head, { role: 'assistant', content: '' }, null),
  piece: (head, content) => delta(head, { content }, null),
  closing: (head, told) => delta(head, {}, finishOf(told)),
  usage: (head, told) => chunk('chat.completion.chunk', head, [], { usage: usageOf(told) }),
};
const delta = (head: Replied, content: object, finish: string | null): object =>
  chunk('chat.completion.chunk', head, [{ index: 0, delta: content, logprobs: null, finish_reason: finish }]);

export const COMPLETION: ReplyForm = {
  prefix: 'cmpl-',
  whole: (head, told) =>
    chunk('text_completion', head, [textChoice(told.answer.text, finishOf(told))], { usage: usageOf(told) }),
  opening: () => null,
  piece: (head, text) => chunk('text_completion', head, [textChoice(text, null)]),
  closing: (head, told) => chunk('text_completion', head, [textChoice('', finishOf(told))]),
  usage: (head, told) => chunk('text_completion', head, [], { usage: usageOf(told) }),
};
const textChoice = (text: string, finish: string | null): object => ({
  text,
  index: 0,
  logprobs: null,
  finish_reason: finish,
});
