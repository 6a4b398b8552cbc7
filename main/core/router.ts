/** @file Looks a procedure up, validates, dispatches. Never rejects: what goes wrong comes back as an error value. */
import type { z } from 'zod';
import { api, type OutputOf, type ParsedInputOf, type ProcedureName, type Reply } from '../contract/api.ts';
import { FettleError, toFettleError } from '../contract/errors.ts';
import type { Log } from './context.ts';

export type Handler<N extends ProcedureName> = (input: ParsedInputOf<N>) => OutputOf<N> | Promise<OutputOf<N>>;
/** The procedures of one feature; a type error where one is missing or misnamed. */
export type Handlers<N extends ProcedureName> = { readonly [K in N]: Handler<K> };
export type AllHandlers = Handlers<ProcedureName>;

export interface Router {
  dispatch(name: string, input: unknown): Promise<Reply>;
}

export function createRouter(handlers: AllHandlers, log: Log): Router {
  return {
    async dispatch(name, input) {
      try {
        if (!Object.hasOwn(api, name))
          throw new FettleError('PROCEDURE_UNKNOWN', `There is no procedure named ${JSON.stringify(name)}.`);
        const known = name as ProcedureName;
        const parsed = api[known].input.safeParse(input ?? {});
        if (!parsed.success) throw invalid(known, parsed.error);
        const handler = handlers[known] as (input: unknown) => unknown;
        return { ok: true, data: await handler(parsed.data) };
      } catch (error) {
        const known = toFettleError(error);
        if (known.code === 'INTERNAL')
          log.error(`${name} failed`, {
            message: known.message,
            stack: error instanceof Error ? error.stack : undefined,
          });
        return { ok: false, error: known.toShape() };
      }
    },
  };
}

function invalid(name: string, error: z.ZodError): FettleError {
  const [first] = error.issues;
  const where = first?.path.join('.') ?? '';
  return new FettleError(
    'INPUT_INVALID',
    `${name}: ${where ? `${where}: ` : ''}${first?.message ?? 'the input is not valid'}`,
    'Check what was given.',
    {
      details: { issues: error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })) },
    },
  );
}
