export * from './bus';
export * from './consumer';
export * from './cqrs';
export * from './kafka';
export * from './pipeline';
export * from './service';
export * from './transport';
export * from './workload';
