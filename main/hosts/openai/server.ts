/** @file The local address for other programs: chat and text completions as OpenAI's API has them, on 127.0.0.1 and for those who know the token. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toFettleError } from '../../contract/errors.ts';
import type { ResolvedTarget } from '../../evaluation/targets.ts';
import type { Asked, Question } from '../../talk/generation.ts';
import { bearer, localHost, localOrigin } from '../web/access.ts';
import { apiError, ApiError, CHAT, COMPLETION, errorBody, type Replied, type ReplyForm } from './replies.ts';
import {
  chatQuestion,
  ChatRequest,
  completionQuestion,
  CompletionRequest,
  readRequest,
  type AnyRequest,
} from './requests.ts';

/** What the address needs of the app. */
export interface Answers {
  /** Names that may be asked for. */
  models(): readonly string[];
  resolve(target: string): ResolvedTarget;
  ask(target: ResolvedTarget, question: Question, onPiece: (text: string) => void): Asked;
  token(): string;
  /** Told of each request that was let in. */
  used(): void;
}
export interface OpenAiServer {
  readonly port: number;
  close(): Promise<void>;
}

const MOST_BODY_BYTES = 4 * 2 ** 20;
/** Under way and waiting. */
const MOST_REQUESTS = 32;

/** @throws PORT_IN_USE */
export async function serveOpenAi(answers: Answers, port: number): Promise<OpenAiServer> {
  let open = 0;
  const server = createServer((request, response) => {
    response.setHeader('cache-control', 'no-store');
    response.setHeader('x-content-type-options', 'nosniff');
    open++;
    response.on('close', () => open--);
    reply(request, response, answers, portOf(server), open)
      .catch((error: unknown) => {
        const known = error instanceof ApiError ? error : apiError(toFettleError(error));
        if (!response.headersSent) return send(response, known.status, errorBody(known));
        // In the middle of a stream, the error is its last event.
        response.end(`data: ${JSON.stringify(errorBody(known))}\n\n`);
      })
      .catch(() => response.destroy());
  });
  server.on('clientError', (_, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(toFettleError(error)));
    server.listen(port, '127.0.0.1', () => resolve());
  });
  return {
    port: portOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const portOf = (server: Server): number => (server.address() as AddressInfo | null)?.port ?? 0;

async function reply(
  request: IncomingMessage,
  response: ServerResponse,
  answers: Answers,
  port: number,
  open: number,
): Promise<void> {
  // A page of another site that had its name pointed here would still say its own name; a page of any site says its origin.
  if (!localHost(request, port)) throw new ApiError(421, 'Fettle answers on 127.0.0.1 only.');
  if (!localOrigin(request, port)) throw new ApiError(403, 'Pages of other sites may not ask here.');
  if (!bearer(request, answers.token()))
    throw new ApiError(401, 'The token is missing or wrong. Send it as "Authorization: Bearer TOKEN".', {
      code: 'invalid_api_key',
    });
  answers.used();
  const path = URL.parse(request.url ?? '/', 'http://localhost')?.pathname ?? '';
  const route = `${request.method} ${path.replace(/\/$/, '')}`;
  const [, named] = /^GET \/v1\/models\/(.+)$/.exec(route) ?? [];
  if (route === 'GET /v1/models')
    return send(response, 200, { object: 'list', data: answers.models().map((id) => modelObject(id)) });
  if (named !== undefined) {
    const id = nameIn(named);
    known(answers, id);
    return send(response, 200, modelObject(id));
  }
  if (route !== 'POST /v1/chat/completions' && route !== 'POST /v1/completions')
    throw new ApiError(404, `There is nothing at ${request.method} ${path}.`, { code: 'unknown_url' });
  if (open > MOST_REQUESTS)
    throw new ApiError(429, 'Too many requests at once. Try again when some are answered.', {
      code: 'rate_limit_exceeded',
    });
  const body = await readBody(request);
  if (route === 'POST /v1/chat/completions') {
    const asked = readRequest(ChatRequest, body);
    const target = known(answers, asked.model);
    await complete(response, answers, target, asked, chatQuestion(asked, target.model.contextLength), CHAT);
  } else {
    const asked = readRequest(CompletionRequest, body);
    const target = known(answers, asked.model);
    await complete(response, answers, target, asked, completionQuestion(asked, target.model.contextLength), COMPLETION);
  }
}

/** @throws 400 for what is no text in the encoding of addresses */
function nameIn(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new ApiError(400, 'The name of the model in the address cannot be read.', { param: 'model' });
  }
}

const modelObject = (id: string): object => ({ id, object: 'model', created: 0, owned_by: 'fettle' });

function known(answers: Answers, id: string): ResolvedTarget {
  if (!answers.models().includes(id))
    throw new ApiError(
      404,
      `The model ${JSON.stringify(id)} is not served here. Ask for ${answers.models().join(', ')}.`,
      {
        param: 'model',
        code: 'model_not_found',
      },
    );
  return answers.resolve(id);
}

async function complete(
  response: ServerResponse,
  answers: Answers,
  target: ResolvedTarget,
  { model, stream, stream_options: options }: AnyRequest,
  question: Question,
  form: ReplyForm,
): Promise<void> {
  const head: Replied = {
    id: form.prefix + randomUUID().replaceAll('-', ''),
    model,
    created: Math.floor(Date.now() / 1000),
  };
  const event = (data: object): void => {
    if (!response.headersSent) {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
      const first = form.opening(head);
      if (first) event(first);
    }
    response.write(`data: ${JSON.stringify(data)}\n\n`);
  };
  const asked = answers.ask(target, question, (text) => {
    if (stream) event(form.piece(head, text));
  });
  // Whoever went away waits for nothing.
  response.on('close', () => asked.stop());
  const told = await asked.told;
  if (!stream) return send(response, 200, form.whole(head, told));
  event(form.closing(head, told));
  if (options?.include_usage) event(form.usage(head, told));
  response.end('data: [DONE]\n\n');
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MOST_BODY_BYTES) throw new ApiError(413, 'The request is larger than 4 MB.');
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
  } catch {
    throw new ApiError(400, 'The body is not valid JSON.');
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}
