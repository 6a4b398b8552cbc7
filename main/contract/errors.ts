/** @file The one error that crosses boundaries: a code, a sentence, what to do about it. */

/** Every code that Fettle reports, with the exit code of the command: 1 the work failed, 2 the request was wrong or something it needs is missing. */
export const ERROR_CODES = {
  USAGE: 2,
  INPUT_INVALID: 2,
  PROMPT_TOO_LONG: 2,
  FILE_NOT_FOUND: 2,
  FILE_EMPTY: 2,
  FILE_UNREADABLE: 2,
  FILE_TRUNCATED: 2,
  FILE_ENCODING: 2,
  FORMAT_UNKNOWN: 2,
  FORMAT_INVALID: 2,
  MODEL_UNSUPPORTED: 2,
  MODEL_INCOMPLETE: 2,
  MODEL_NOT_FOUND: 2,
  MODEL_EXISTS: 2,
  MODEL_IN_USE: 2,
  MODEL_UNAVAILABLE: 2,
  TEMPLATE_MISSING: 2,
  TEMPLATE_FAILED: 2,
  DATA_EMPTY: 2,
  DATA_SHAPE_UNKNOWN: 2,
  DATASET_NOT_FOUND: 2,
  DATASET_IN_USE: 2,
  PROJECT_NOT_FOUND: 2,
  PROJECT_EXISTS: 2,
  PROJECT_IN_USE: 2,
  RECIPE_INVALID: 2,
  RUN_NOT_FOUND: 2,
  RUN_IN_USE: 2,
  RUN_STATE: 2,
  CHECKPOINT_NOT_FOUND: 2,
  CHECKPOINT_INVALID: 1,
  DEVICE_MISSING: 2,
  DEVICE_FAILED: 1,
  MEMORY_SHORT: 2,
  DISK_FULL: 1,
  SUITE_NEWER: 2,
  RESULT_NEWER: 2,
  DATABASE_NEWER: 2,
  DATABASE_BROKEN: 2,
  HOME_LOCKED: 2,
  HOST_UNREACHABLE: 1,
  PORT_IN_USE: 2,
  UNAUTHORISED: 2,
  PROCEDURE_UNKNOWN: 2,
  CONFIRM_NEEDED: 2,
  TARGET_EXISTS: 2,
  EXPORT_UNSUPPORTED: 2,
  EXPORT_FAILED: 1,
  EXPORT_IN_USE: 2,
  WORKER_CRASHED: 1,
  WORKER_TIMEOUT: 1,
  TRAINING_DIVERGED: 1,
  INTERRUPTED: 1,
  CANCELLED: 1,
  INTERNAL: 1,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** What a transport carries of an error. */
export interface ErrorShape {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

export class FettleError extends Error implements ErrorShape {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  /** @param message what happened, in one plain sentence. @param hint what the person can do. */
  constructor(
    code: ErrorCode,
    message: string,
    hint?: string,
    options: { details?: Readonly<Record<string, unknown>>; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'FettleError';
    this.code = code;
    this.hint = hint;
    this.details = options.details;
  }

  toShape(): ErrorShape {
    return { code: this.code, message: this.message, hint: this.hint, details: this.details };
  }

  /** From what a row or an event keeps of an error. */
  static fromInfo({
    code,
    message,
    hint,
  }: {
    readonly code: string;
    readonly message: string;
    readonly hint?: string | undefined;
  }): FettleError {
    return new FettleError(Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'INTERNAL', message, hint);
  }

  static fromShape(shape: ErrorShape): FettleError {
    return new FettleError(shape.code, shape.message, shape.hint, shape.details ? { details: shape.details } : {});
  }
}

const SYSTEM_ERRORS: Readonly<Record<string, readonly [ErrorCode, string, string]>> = {
  ENOSPC: ['DISK_FULL', 'The disk is full.', 'Free some space or choose another folder; nothing finished was lost.'],
  EDQUOT: ['DISK_FULL', 'No more space may be taken on this disk.', 'Free some space or choose another folder.'],
  EFBIG: ['DISK_FULL', 'A file grew larger than the disk takes.', 'Choose a folder on another disk, or fewer bits.'],
  SQLITE_FULL: ['DISK_FULL', 'The disk is full.', 'Free some space; what was written down before is safe.'],
  ENOENT: ['FILE_NOT_FOUND', 'A file or folder does not exist.', 'Check the path.'],
  EACCES: ['FILE_UNREADABLE', 'Access to a file or folder was denied.', 'Check its permissions.'],
  EPERM: ['FILE_UNREADABLE', 'Access to a file or folder was denied.', 'Check its permissions.'],
  EROFS: ['FILE_UNREADABLE', 'The target is read-only.', 'Choose a folder that can be written.'],
  EISDIR: ['FILE_UNREADABLE', 'A folder was given where a file is needed.', 'Name a file.'],
  ENAMETOOLONG: ['INPUT_INVALID', 'A name is longer than the system takes.', 'Choose a shorter name or folder.'],
  EADDRINUSE: ['PORT_IN_USE', 'That port is already in use.', 'Choose another with --port, or leave it out.'],
};

/** Any thrown thing as a FettleError: system errors by their meaning, the unknown as INTERNAL with its message kept. */
export function toFettleError(error: unknown): FettleError {
  if (error instanceof FettleError) return error;
  const code = (error as { code?: unknown } | null)?.code;
  const known = typeof code === 'string' ? SYSTEM_ERRORS[code] : undefined;
  const path = (error as { path?: unknown } | null)?.path;
  if (known)
    return new FettleError(known[0], typeof path === 'string' ? `${known[1]} (${path})` : known[1], known[2], {
      cause: error,
    });
  const message = error instanceof Error ? error.message : String(error);
  return new FettleError('INTERNAL', message, 'This is a fault in Fettle. The log has the details.', { cause: error });
}
