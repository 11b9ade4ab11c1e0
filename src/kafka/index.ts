export * from './kafka-cluster';
export * from './kafka-retry';
export * from './msk-event-cluster';
