import type { Replicas } from './replicas';
import type { AutoscalingBindOptions } from '../autoscaling';

type Manifest = { [key: string]: unknown };

/** Makes a HorizontalPodAutoscaler with the name of the Deployment that follows one metric, or none for a fixed number of replicas. */
export function horizontalPodAutoscaler(target: AutoscalingBindOptions, replicas: Replicas, metric?: Manifest): Manifest {
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: {
      name: target.deploymentName,
      namespace: target.namespace,
      // A change to KEDA makes its ScaledObject before this autoscaler is deleted, and KEDA's admission would refuse it.
      annotations: { 'validations.keda.sh/hpa-ownership': 'false' },
    },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: target.deploymentName },
      ...replicas,
      ...metric && { metrics: [metric] },
    },
  };
}
