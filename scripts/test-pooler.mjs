// Runs the services through PgBouncer in transaction mode, which stands in for RDS Proxy. Installs it with apt where that is possible.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const run = (command, args, options) => spawnSync(command, args, { stdio: 'inherit', ...options }).status;
const isThere = () => [...process.env.PATH.split(':'), '/usr/sbin'].some((folder) => existsSync(join(folder, 'pgbouncer')));

if (!isThere() && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
  run('apt-get', ['update', '--quiet']);
  run('apt-get', ['install', '--yes', '--quiet', '--no-install-recommends', 'pgbouncer'], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
}
if (!isThere()) {
  console.error('PgBouncer is not there, so nothing was tested: install it (Debian and Ubuntu: sudo apt-get install pgbouncer).');
  process.exit(0);
}
process.exitCode = run(process.execPath, ['../scripts/node-test.mjs', 'test/pooler.test.ts'], {
  cwd: join(import.meta.dirname, '../reference-app'), env: { ...process.env, TEST_POOLER: '1' },
});
