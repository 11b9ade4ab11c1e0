export * from './buffered-event-consumer';
export * from './buffered-event-consumer-grants';
export * from './consumer-alarms';
export * from './consumer-target';
export type { ExternalConsumerOptions } from './external-consumer-target';
export type { KubernetesConsumerOptions } from './kubernetes-consumer-target';
export type { LambdaConsumerOptions } from './lambda-consumer-target';
export * from './queue-scaling';
export * from './queue-type';
