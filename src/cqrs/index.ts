export * from './cqrs-aurora-cluster';
export { CqrsDatabase } from './cqrs-database';
export type { CqrsDatabaseAttributes, ICqrsDatabase } from './cqrs-database';
export * from './cqrs-database-grants';
export { CqrsEngine } from './cqrs-engine';
export { CqrsReaders } from './cqrs-readers';
export type { AutoscaledReadersOptions } from './cqrs-readers';
export * from './database-access';
