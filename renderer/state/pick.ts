/** @file Files for a purpose: the system's own dialog where there is one, else the workbench's. */
import type { Purpose, Transport } from '../transport/transport.ts';

/** Asks the system's dialog; where there is none, opens the workbench's through `openOwn`. */
export async function pickOr(
  client: Transport,
  purpose: Purpose,
  openOwn: () => void,
  onpick: (paths: string[]) => void,
): Promise<void> {
  if (!client.pick) return openOwn();
  const paths = await client.pick(purpose);
  if (paths.length > 0) onpick(paths);
}
