export * from './api-authorizer';
export * from './kubernetes-services';
export * from './service-host';
export * from './service-kind';
