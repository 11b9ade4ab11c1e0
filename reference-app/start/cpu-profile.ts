import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';

/** Profiles this thread until the function that it returns is called; Node.js itself does so for the other processes. */
export async function profileThisThread(folder: string): Promise<() => Promise<void>> {
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
