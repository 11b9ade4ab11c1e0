export * from './event-signing';
export * from './event-transport';
