import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';

/**
 * Records a CPU profile of this thread, which serves queues and buses, until the returned function is called. Node.js itself does so for
 * the other processes.
 */
export async function recordCpuProfile(folder: string): Promise<() => Promise<void>> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.start');
  return async () => {
    const { profile } = await session.post('Profiler.stop');
    session.disconnect();
    writeFileSync(join(folder, `endpoints.${process.pid}.cpuprofile`), JSON.stringify(profile));
  };
}
