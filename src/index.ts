export * from './bus';
export * from './consumer';
export * from './cqrs';
export * from './pipeline';
export * from './workload';
