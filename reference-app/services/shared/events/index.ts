export * from './ids.ts';
export * from './schemas.ts';
export * from './envelope.ts';
export * from './bundle.ts';
export * from './signature.ts';
