import type { Replicas } from './replicas';
import type { AutoscalingBindOptions } from '../autoscaling';

type Manifest = { [key: string]: unknown };

/** A HorizontalPodAutoscaler of the Deployment's name that follows one metric. */
export function horizontalPodAutoscaler(target: AutoscalingBindOptions, replicas: Replicas, metric: Manifest): Manifest {
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: {
      name: target.deploymentName,
      namespace: target.namespace,
      // Else KEDA refuses its ScaledObject in the deployment that changes the scaling, as this one is pruned only after that.
      annotations: { 'validations.keda.sh/hpa-ownership': 'false' },
    },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: target.deploymentName },
      ...replicas,
      metrics: [metric],
    },
  };
}
