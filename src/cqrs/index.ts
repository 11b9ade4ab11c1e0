export * from './cqrs-aurora-cluster';
export { CqrsDatabase } from './cqrs-database';
export type { CqrsDatabaseAttributes, ICqrsDatabase } from './cqrs-database';
export * from './cqrs-database-grants';
export * from './database-access';
