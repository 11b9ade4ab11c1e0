export type { Model, Resource } from './assembly/model.ts';
export type { ResourceType, WithoutMeaning } from './assembly/types.ts';
export { LocalRunError } from './errors.ts';
export type { LocalQueue, LocalRule, LocalRun, LocalRunOptions, LocalSchedule, LocalWorkload, ProgressStep } from './local-run.ts';
export type { Log, LogLevel } from './log.ts';
export { startLocal } from './run.ts';
export { DeliveryError } from './service.ts';
export type { DeliveryOptions, LocalService, LocalServiceFactory, MessageAttribute, Receiver, RunContext, Sender } from './service.ts';
