/** @file Conversations: one turn after the other with up to four models, each keeping to what it said itself. The only writer of tables chat, chat_turn and chat_answer. */
import { z } from 'zod';
import type { ParsedInputOf } from '../contract/api.ts';
import {
  Answer,
  ChatAnswer,
  ErrorInfo,
  Sampling,
  type Chat,
  type ChatSummary,
  type ChatTurn,
} from '../contract/entities.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import type { Core } from '../core/context.ts';
import type { Handlers } from '../core/router.ts';
import { resolveTarget, type ResolvedTarget } from '../evaluation/targets.ts';
import type { Models } from '../models/index.ts';
import type { Projects } from '../projects/index.ts';
import type { Runs } from '../runs/index.ts';
import { turnsOf, type Asked, type Generation } from './generation.ts';

type Names = 'list' | 'show' | 'send' | 'again' | 'stop' | 'rename' | 'delete';

interface Row {
  readonly id: string;
  readonly project: string;
  readonly title: string;
  readonly targets: string;
  readonly system: string;
  readonly sampling: string;
  readonly updated_at: string;
}
interface AnswerRow {
  readonly turn: number;
  readonly target: string;
  readonly label: string;
  readonly answer: string | null;
  readonly context: string | null;
  readonly error: string | null;
}

/** Of the first message, for the list. */
const TITLE_LENGTH = 60;
const Targets = z.array(z.string());
const json = <T extends z.ZodType>(schema: T, text: string): z.output<T> => schema.parse(JSON.parse(text));

export function createChats(
  core: Core,
  parts: { readonly projects: Projects; readonly models: Models; readonly runs: Runs; readonly generation: Generation },
): { handlers: Handlers<`chats.${Names}`> } {
  const { db } = core;
  const { projects, generation } = parts;
  /** Answers that are being written, by chat, turn and target. */
  const writing = new Map<string, Asked>();
  const keyOf = (chat: string, turn: number, target: string): string => `${chat}\n${turn}\n${target}`;
  const ofChat = (id: string): Asked[] => [...writing].flatMap(([key, it]) => (key.startsWith(`${id}\n`) ? [it] : []));

  const one = db.prepare<[string], Row>('SELECT * FROM chat WHERE id = ?');
  const turnsIn = db.prepare<[string], { number: number; prompt: string; at: string }>(
    'SELECT number, prompt, at FROM chat_turn WHERE chat = ? ORDER BY number',
  );
  const answersIn = db.prepare<[string], AnswerRow>('SELECT * FROM chat_answer WHERE chat = ? ORDER BY turn, place');
  const putAnswer = db.prepare(
    `INSERT INTO chat_answer (chat, turn, target, place, label)
     VALUES (:chat, :turn, :target, (SELECT count(*) FROM chat_answer WHERE chat = :chat AND turn = :turn), :label)
     ON CONFLICT (chat, turn, target) DO UPDATE SET label = :label, answer = NULL, context = NULL, error = NULL`,
  );
  const setAnswer = db.prepare(
    'UPDATE chat_answer SET answer = :answer, context = :context, error = :error WHERE chat = :chat AND turn = :turn AND target = :target',
  );
  const touch = db.prepare(
    'UPDATE chat SET targets = :targets, system = :system, sampling = :sampling, updated_at = :at WHERE id = :id',
  );

  const row = (id: string): Row => {
    const found = one.get(id);
    if (!found)
      throw new FettleError(
        'INPUT_INVALID',
        `There is no conversation named ${JSON.stringify(id)}.`,
        '`fettle chat list PROJECT` shows those there are.',
      );
    return found;
  };
  const summary = (chat: Row, turns: number): ChatSummary => ({
    id: chat.id,
    project: chat.project,
    title: chat.title,
    targets: json(Targets, chat.targets),
    turns,
    updatedAt: chat.updated_at,
  });
  const answerOf = (chat: string, { turn, target, label, answer, context, error }: AnswerRow): ChatAnswer => {
    const asked = writing.get(keyOf(chat, turn, target));
    const lost = !asked && answer === null && error === null;
    return {
      target,
      label,
      generation: asked?.id ?? null,
      answer: answer === null ? null : json(Answer, answer),
      context: context === null ? null : json(ChatAnswer.shape.context, context),
      error: error !== null ? json(ErrorInfo, error) : lost ? LOST : null,
    };
  };
  function show(id: string): Chat {
    const chat = row(id);
    const answers = answersIn.all(id);
    const { turns: _, ...facts } = summary(chat, 0);
    return {
      ...facts,
      system: chat.system,
      sampling: json(Sampling, chat.sampling),
      turns: turnsIn.all(id).map((turn) => ({
        ...turn,
        answers: answers.filter((each) => each.turn === turn.number).map((each) => answerOf(id, each)),
      })),
    };
  }
  const changed = (chat: string, project: string): void => core.events.changed('chat', chat, project);

  /** What a model has heard before a turn: its own answers, else those of the first that was asked. Turns that nobody answered are left out. */
  function historyOf({ turns }: Chat, before: number, target: string): ChatTurn[] {
    return turns.flatMap(({ number, prompt, answers }) => {
      const said = (
        answers.find((each) => each.target === target && each.answer) ?? answers.find((each) => each.answer)
      )?.answer?.text;
      if (number >= before || !said) return [];
      return [
        { role: 'user' as const, content: prompt },
        { role: 'assistant' as const, content: said },
      ];
    });
  }

  /** Lets a model answer a turn. What comes of it is written down, whether somebody looks or not. */
  function answer(
    chat: Chat,
    turn: { readonly number: number; readonly prompt: string },
    target: ResolvedTarget,
  ): void {
    const at = { chat: chat.id, turn: turn.number, target: target.target };
    putAnswer.run({ ...at, label: target.label });
    const key = keyOf(at.chat, at.turn, at.target);
    const prompt = turnsOf(chat.system, historyOf(chat, turn.number, target.target), turn.prompt);
    const asked = generation.ask(target, { prompt, sampling: chat.sampling }, (text) =>
      core.events.publish(`generation:${asked.id}`, { type: 'piece', text }),
    );
    writing.set(key, asked);
    void asked.told
      .then(
        (told) => {
          const context = { used: told.promptTokens + told.answer.tokens, most: told.contextTokens };
          const kept = { answer: JSON.stringify(told.answer), context: JSON.stringify(context), error: null };
          setAnswer.run({ ...at, ...kept });
          core.events.publish(`generation:${asked.id}`, { type: 'done', ...told });
        },
        (reason: unknown) => {
          const { code, message, hint } = toFettleError(reason);
          const error = { code, message, ...(hint ? { hint } : {}) };
          setAnswer.run({ ...at, answer: null, context: null, error: JSON.stringify(error) });
          core.events.publish(`generation:${asked.id}`, { type: 'error', error });
        },
      )
      // A home that was closed meanwhile finds the answer lost at the next start.
      .catch((error: unknown) => core.log.warn('an answer could not be kept', { error: String(error) }))
      .finally(() => {
        if (writing.get(key) === asked) writing.delete(key);
        changed(chat.id, chat.project);
      });
  }

  const insert = db.transaction((project: string, title: string): string => {
    const number =
      db
        .prepare<[string], { n: number }>('SELECT coalesce(max(number), 0) + 1 AS n FROM chat WHERE project = ?')
        .get(project)?.n ?? 1;
    const id = `${project}-chat-${number}`;
    db.prepare(
      `INSERT INTO chat (id, project, number, title, targets, system, sampling, updated_at) VALUES (?, ?, ?, ?, '[]', '', '{}', ?)`,
    ).run(id, project, number, title, core.clock.now());
    return id;
  });

  function send(input: ParsedInputOf<'chats.send'>): Chat {
    projects.show(input.project);
    const { prompt, system, sampling } = input;
    if (input.chat !== undefined) free(row(input.chat).id);
    const targets = [...new Set(input.targets)].map((name) => resolved(name));
    const [first] = targets.filter((each) => each instanceof FettleError);
    if (first && targets.every((each) => each instanceof FettleError)) throw first;
    const id = input.chat ?? insert(input.project, titleOf(prompt));
    const at = core.clock.now();
    touch.run({ id, targets: JSON.stringify(input.targets), system, sampling: JSON.stringify(sampling), at });
    const before = show(id);
    const number = (before.turns.at(-1)?.number ?? 0) + 1;
    db.prepare('INSERT INTO chat_turn (chat, number, prompt, at) VALUES (?, ?, ?, ?)').run(id, number, prompt, at);
    for (const [i, target] of targets.entries()) {
      if (!(target instanceof FettleError)) answer(before, { number, prompt }, target);
      else refuse(id, number, [...new Set(input.targets)][i]!, target);
    }
    changed(id, before.project);
    return show(id);
  }

  /** One of several is not there any more: the others answer. */
  function refuse(chat: string, turn: number, target: string, { code, message, hint }: FettleError): void {
    putAnswer.run({ chat, turn, target, label: target });
    const error = JSON.stringify({ code, message, ...(hint ? { hint } : {}) });
    setAnswer.run({ chat, turn, target, answer: null, context: null, error });
  }
  function resolved(name: string): ResolvedTarget | FettleError {
    try {
      return resolveTarget(parts, name);
    } catch (error) {
      return toFettleError(error);
    }
  }
  function free(chat: string): void {
    if (ofChat(chat).length > 0)
      throw new FettleError('INPUT_INVALID', 'The last message is still being answered.', 'Wait for it, or stop it.');
  }

  function again(id: string, name: string): Chat {
    free(row(id).id);
    const chat = show(id);
    const turn = chat.turns.at(-1);
    if (!turn) throw new FettleError('INPUT_INVALID', 'Nothing was asked yet.', 'Send a message first.');
    answer(chat, turn, resolveTarget(parts, name));
    changed(id, chat.project);
    return show(id);
  }

  return {
    handlers: {
      'chats.list': ({ project }) => {
        projects.show(project);
        return db
          .prepare<[string], Row & { turns: number }>(
            `SELECT chat.*, (SELECT count(*) FROM chat_turn WHERE chat = chat.id) AS turns
             FROM chat WHERE project = ? ORDER BY updated_at DESC, number DESC`,
          )
          .all(project)
          .map(({ turns, ...chat }) => summary(chat, turns));
      },
      'chats.show': ({ chat }) => show(chat),
      'chats.send': send,
      'chats.again': ({ chat, target }) => again(chat, target),
      'chats.stop': ({ chat }) => {
        for (const asked of ofChat(row(chat).id)) asked.stop();
        return { ok: true };
      },
      'chats.rename': ({ chat, title }) => {
        const { project } = row(chat);
        db.prepare('UPDATE chat SET title = ? WHERE id = ?').run(title, chat);
        changed(chat, project);
        return show(chat);
      },
      'chats.delete': ({ chat }) => {
        const { project } = row(chat);
        for (const asked of ofChat(chat)) asked.stop();
        db.prepare('DELETE FROM chat WHERE id = ?').run(chat);
        changed(chat, project);
        return { ok: true };
      },
    },
  };
}

const LOST: ErrorInfo = {
  code: 'INTERRUPTED',
  message: 'Fettle was closed before this was answered.',
  hint: 'Ask again.',
};

function titleOf(prompt: string): string {
  const line = prompt.split('\n', 1)[0]!.trim();
  return line.length <= TITLE_LENGTH ? line : `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…`;
}
