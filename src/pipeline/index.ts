export * from './event-driven-order-pipeline';
export * from './pipeline-alarms';
export * from './pipeline-dashboard';
export * from './pipeline-options';
