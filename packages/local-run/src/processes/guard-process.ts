// Runs beside a local run and stops its children when it dies; see guard.ts. Reads lines: `+ <pid> <signal>`, `- <pid>`.
import { createInterface } from 'node:readline';
import { isAlive, signal } from './identity.ts';

const GRACE_MS = 10_000;
const children = new Map<number, NodeJS.Signals>();

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => undefined);

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [sign, pid, name] = line.split(' ');
  if (sign === '+') children.set(Number(pid), name as NodeJS.Signals);
  else children.delete(Number(pid));
});
lines.on('close', () => {
  for (const [pid, name] of children) signal(pid, name);
  const deadline = Date.now() + GRACE_MS;
  const timer = setInterval(() => {
    for (const pid of children.keys()) if (!isAlive(pid)) children.delete(pid);
    if (children.size > 0 && Date.now() < deadline) return;
    clearInterval(timer);
    for (const pid of children.keys()) signal(pid, 'SIGKILL');
  }, 50);
});
