export { LocalRunError } from './errors.ts';
export { startLocal } from './run.ts';
export type { LocalQueue, LocalRun, LocalRunOptions, LocalService, ProgressStep } from './run.ts';
