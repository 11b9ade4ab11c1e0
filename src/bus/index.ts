export * from './event-archive';
export * from './order-event-bus';
