export * from './autoscaling';
export * from './kubernetes-access';
export * from './kubernetes-container-options';
export * from './kubernetes-job';
export * from './kubernetes-workload';
export * from './service-exposure';
export * from './workload-image';
export * from './workload-probes';
