/** @file The first thing that runs on a fresh machine: installs what the lockfile names, then goes on under the pinned Node. Needs Node 20 with npm, and nothing else. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const windows = process.platform === 'win32';
/** Messages go to stderr: stdout belongs to the command, which may print JSON. */
const tell = (text) => process.stderr.write(`${text}\n`);

function fail(text) {
  tell(text);
  process.exit(2);
}

function install() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  const hash = createHash('sha256')
    .update(lock)
    .update(process.platform + process.arch)
    .digest('hex');
  const stamp = join(root, 'node_modules', '.fettle-installed');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  tell('Installing what Fettle needs (once; about half a minute)...');
  const { status, error } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: windows,
  });
  if (error) fail(`npm could not be started: ${error.message}\nInstall Node.js 20 or newer together with npm.`);
  if (status !== 0)
    fail(
      'npm ci did not succeed (see above). It needs a package registry once; afterwards Fettle works without a network.',
    );
  writeFileSync(stamp, hash);
}

const [major] = process.versions.node.split('.').map(Number);
if (major < 20) fail(`Fettle needs Node.js 20 or newer; this is ${process.versions.node}.`);
install();

const [what = 'start', ...rest] = process.argv.slice(2);
const scripts = { fettle: 'main/cli/fettle.ts', start: 'scripts/start.ts', test: 'scripts/test.ts' };
if (!Object.hasOwn(scripts, what)) fail(`bootstrap.mjs knows ${Object.keys(scripts).join(', ')}, not ${what}.`);
const bin = join(root, 'node_modules', '.bin');
const node = join(root, 'node_modules', 'node', 'bin', windows ? 'node.exe' : 'node');
if (!existsSync(node)) fail(`The pinned Node is missing at ${node}. Delete node_modules and run this again.`);
const child = spawn(node, [join(root, scripts[what]), ...rest], {
  cwd: what === 'fettle' ? process.cwd() : root,
  stdio: 'inherit',
  env: { ...process.env, PATH: `${bin}${windows ? ';' : ':'}${process.env.PATH}` },
});
// Ctrl-C reaches the child by itself; it decides when to end.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => signal !== 'SIGINT' && child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
