export * from './event-driven-order-pipeline';
export * from './pipeline-options';
