/** @file A line of progress that rewrites itself on a terminal; where there is none, a line now and then. On stderr, so that stdout stays clean. */

const BAR = 24;
const QUIET_MS = 10_000;

export interface Progress {
  /** @param share 0 to 1, null where it cannot be told. */
  show(text: string, share: number | null): void;
  /** Ends the line. */
  end(): void;
}

export function createProgress(out: NodeJS.WriteStream = process.stderr): Progress {
  let shown = '';
  let last = 0;
  let stage = '';
  return {
    show(text, share) {
      const line = share === null ? text : `${bar(share)} ${(share * 100).toFixed(0).padStart(3)}%  ${text}`;
      if (out.isTTY) {
        if (line === shown) return;
        out.write(`\r\u001b[K${line.slice(0, Math.max(20, (out.columns ?? 100) - 1))}`);
        shown = line;
        return;
      }
      const now = performance.now();
      const next = text.split(/[:,·]/, 1)[0] ?? '';
      if (next === stage && now - last < QUIET_MS) return;
      [stage, last] = [next, now];
      out.write(`${line}\n`);
    },
    end() {
      if (out.isTTY && shown !== '') out.write('\r\u001b[K');
      shown = '';
    },
  };
}

function bar(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * BAR);
  return `${'█'.repeat(full)}${'░'.repeat(BAR - full)}`;
}
