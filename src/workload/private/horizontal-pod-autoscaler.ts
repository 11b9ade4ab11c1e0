import type { Replicas } from './replicas';
import type { AutoscalingBindOptions } from '../autoscaling';

type Manifest = { [key: string]: unknown };

/** Makes a HorizontalPodAutoscaler with the name of the Deployment that follows one metric. */
export function horizontalPodAutoscaler(target: AutoscalingBindOptions, replicas: Replicas, metric: Manifest): Manifest {
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: {
      name: target.deploymentName,
      namespace: target.namespace,
      // Otherwise KEDA refuses its ScaledObject in the deployment that changes the scaling, as this autoscaler is pruned only after that.
      annotations: { 'validations.keda.sh/hpa-ownership': 'false' },
    },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: target.deploymentName },
      ...replicas,
      metrics: [metric],
    },
  };
}
