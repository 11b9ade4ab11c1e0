import { pathToFileURL } from 'node:url';

/**
 * The program `several.js`: runs programs of the image in one process, for a machine with few cores. They share compiled code, a heap and
 * an event loop. The local run starts it; in a cluster each program has its own pods.
 *
 * Each program reads its variables when it starts, so these are those of the process just then. One after the other, therefore.
 */
const programs = JSON.parse(process.env.SHARED_PROGRAMS ?? '[]') as { program: string; environment: Record<string, string> }[];
delete process.env.SHARED_PROGRAMS;
const before = { ...process.env };

for (const { program, environment } of programs) {
  for (const name of Object.keys(process.env)) if (!(name in before) && !(name in environment)) delete process.env[name];
  Object.assign(process.env, before, environment);
  // A path that the bundler doesn't know: it is a file beside this one.
  await import(pathToFileURL(`${import.meta.dirname}/${program}`).href);
}
