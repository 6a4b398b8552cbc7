/** @file What programs send to the local address, in OpenAI's form, as a question of our own. */
import { z } from 'zod';
import type { ChatTurn, Sampling } from '../../contract/entities.ts';
import type { Question } from '../../talk/generation.ts';
import { ApiError } from './replies.ts';

/** Text, or the text parts of a list. */
const Content = z.union([
  z.string(),
  z
    .array(z.looseObject({ type: z.literal('text'), text: z.string() }))
    .transform((parts) => parts.map((part) => part.text).join('')),
]);
const Shared = z.looseObject({
  model: z.string(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  max_tokens: z.int().min(1).nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(16)]).nullish(),
  /** Not OpenAI's; other local servers take them too. */
  top_k: z.int().min(0).nullish(),
  repetition_penalty: z.number().min(0.1).max(10).nullish(),
});
export const ChatRequest = Shared.extend({
  messages: z
    .array(
      z.looseObject({ role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']), content: Content.nullish() }),
    )
    .min(1),
  max_completion_tokens: z.int().min(1).nullish(),
});
export const CompletionRequest = Shared.extend({
  prompt: z.union([z.string().min(1), z.tuple([z.string().min(1)]).transform(([prompt]) => prompt)]),
});
export type AnyRequest = z.infer<typeof Shared>;

/** What would change the answer and is not done here is refused, not passed over. */
const UNDONE: Readonly<Record<string, (value: unknown) => boolean>> = {
  n: (value) => value !== 1,
  best_of: (value) => value !== 1,
  tools: (value) => Array.isArray(value) && value.length > 0,
  functions: (value) => Array.isArray(value) && value.length > 0,
  logprobs: (value) => value !== false && value !== 0,
  top_logprobs: (value) => value !== 0,
  logit_bias: (value) => typeof value === 'object' && Object.keys(value as object).length > 0,
  presence_penalty: (value) => value !== 0,
  frequency_penalty: (value) => value !== 0,
  response_format: (value) => (value as { type?: unknown }).type !== 'text',
  echo: (value) => value !== false,
  suffix: (value) => value !== '',
};

/** @throws ApiError */
export function readRequest<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const param = issue?.path.join('.') || null;
    throw new ApiError(400, `${param ?? 'The body'}: ${issue?.message ?? 'it is not what is expected'}`, { param });
  }
  const given = Object.entries(body as Record<string, unknown>);
  const undone = given.find(([name, value]) => value !== null && value !== undefined && UNDONE[name]?.(value));
  if (undone)
    throw new ApiError(400, `Fettle does not do what "${undone[0]}" asks for. Leave it out.`, {
      param: undone[0],
      code: 'unsupported_parameter',
    });
  return parsed.data;
}

/** Greedy where nothing is said, as in the workbench. @param most tokens where the request names no limit. */
function questionOf(prompt: Question['prompt'], request: AnyRequest, most: number): Question {
  const sampling: Sampling = {
    maxTokens: most,
    temperature: request.temperature ?? 0,
    topP: request.top_p ?? 1,
    topK: request.top_k ?? 0,
    repetitionPenalty: request.repetition_penalty ?? 1,
    // OpenAI's may be negative; ours are a 32-bit number from 0.
    seed: (request.seed ?? 0) >>> 0,
  };
  const { stop } = request;
  return { prompt, sampling, stop: stop === null || stop === undefined ? [] : [stop].flat() };
}

export function chatQuestion(request: z.output<typeof ChatRequest>, contextLength: number): Question {
  const turns = request.messages.map(({ role, content }): ChatTurn => ({
    role: role === 'developer' ? 'system' : role,
    content: content ?? '',
  }));
  const most = request.max_completion_tokens ?? request.max_tokens ?? contextLength;
  return questionOf(turns, request, Math.min(most, contextLength));
}

/** OpenAI's default there. */
const COMPLETION_TOKENS = 16;
export const completionQuestion = (request: z.output<typeof CompletionRequest>, contextLength: number): Question =>
  questionOf(request.prompt, request, Math.min(request.max_tokens ?? COMPLETION_TOKENS, contextLength));
