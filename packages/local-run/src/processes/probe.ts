import { connect } from 'node:net';
import { LOOPBACK } from './ports.ts';
import type { Probe } from './specs.ts';

/** A machine that runs a whole system at once answers later than a node of a cluster; a probe must not kill what is only slow. */
const LEAST_TIMEOUT_MS = 5_000;

/** Asks once, as the kubelet does. */
export async function ask(probe: Probe, port: number): Promise<boolean> {
  const timeout = Math.max(probe.timeoutSeconds * 1000, LEAST_TIMEOUT_MS);
  if (probe.kind === 'tcp') return answersTcp(port, timeout);
  try {
    const response = await fetch(`http://${LOOPBACK}:${port}${probe.path}`, { signal: AbortSignal.timeout(timeout), redirect: 'manual' });
    await response.arrayBuffer();
    return response.status >= 200 && response.status < 400;
  } catch {
    return false;
  }
}

function answersTcp(port: number, timeout: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: LOOPBACK, timeout });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
    socket.once('timeout', () => end(false));
  });
}
