export * from './buffered-event-consumer';
export * from './consumer-alarms';
export * from './consumer-target';
export * from './event-subscription';
export type { ExternalConsumerOptions } from './external-consumer-target';
export type { KubernetesConsumerOptions, KubernetesConsumerSettings } from './kubernetes-consumer-target';
export type { LambdaConsumerOptions } from './lambda-consumer-target';
export * from './queue-scaling';
export * from './queue-type';
