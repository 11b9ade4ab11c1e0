import { Duration, Token, Tokenization } from 'aws-cdk-lib';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { Autoscaling, AutoscalingBindOptions, AutoscalingConfig } from '../../workload/autoscaling';
import { horizontalPodAutoscaler } from '../../workload/private/horizontal-pod-autoscaler';
import { Replicas, replicasOf, requireAtLeast } from '../../workload/private/replicas';
import type { ExternalMetricScalingOptions, KedaScalingOptions, QueueLatencyOptions } from '../queue-scaling';

/**
 * Returns the number of waiting messages per replica: the number that a replica processes in the acceptable latency.
 */
export function messagesPerReplica(options: QueueLatencyOptions): number {
  const { acceptableLatency, messageProcessingTime, concurrency = 1 } = options;
  requireAtLeast('concurrency', concurrency, 1);
  const latency = milliseconds('acceptableLatency', acceptableLatency);
  const processing = milliseconds('messageProcessingTime', messageProcessingTime);
  if (processing > latency) {
    throw new Error(`messageProcessingTime (${messageProcessingTime.toHumanString()}) is more than acceptableLatency `
      + `(${acceptableLatency.toHumanString()}), so no number of replicas is enough: accept more, or make the processing faster`);
  }
  return Math.floor(latency * concurrency / processing);
}

function milliseconds(name: string, duration: Duration): number {
  if (duration.isUnresolved()) {
    throw new Error(`${name} must be known at synthesis, as the backlog per replica is computed from it; got a token`);
  }
  if (duration.toMilliseconds() <= 0) {
    throw new Error(`${name} must be more than 0`);
  }
  return duration.toMilliseconds();
}

/** The configuration of KEDA, computed from the options. */
export interface KedaSettings extends Replicas {
  readonly fallback?: { replicas: number; failureThreshold: number };
  readonly behavior?: { [key: string]: unknown };
  readonly targetCpuUtilizationPercent?: number;
  readonly queueLength: number;
  readonly pollingSeconds: number;
  readonly cooldownSeconds: number;
}

export function kedaSettings(options: KedaScalingOptions): KedaSettings {
  const settings = {
    ...replicasOf(options, 1, 0),
    queueLength: messagesPerReplica(options),
    pollingSeconds: options.pollingInterval?.toSeconds()
      ?? Math.min(30, Math.max(5, Math.floor(options.acceptableLatency.toMilliseconds() / 4000))),
    cooldownSeconds: (options.cooldown ?? Duration.minutes(5)).toSeconds(),
    fallback: options.fallback && { replicas: options.fallback.replicas, failureThreshold: options.fallback.failureThreshold ?? 3 },
    behavior: options.behavior,
    targetCpuUtilizationPercent: options.targetCpuUtilizationPercent,
  };
  if (settings.fallback) {
    requireAtLeast('fallback.replicas', settings.fallback.replicas, 0);
    requireAtLeast('fallback.failureThreshold', settings.fallback.failureThreshold, 1);
  }
  if (settings.targetCpuUtilizationPercent !== undefined) {
    requireAtLeast('targetCpuUtilizationPercent', settings.targetCpuUtilizationPercent, 1);
  }
  requireAtLeast('pollingInterval in seconds', settings.pollingSeconds, 1);
  requireAtLeast('cooldown in seconds', settings.cooldownSeconds, 0);
  return settings;
}

/** Makes a ScaledObject of KEDA. */
export class KedaAutoscaling extends Autoscaling {
  constructor(private readonly queue: sqs.IQueue, private readonly settings: KedaSettings) {
    super();
  }

  public bind(_scope: Construct, { deploymentName, namespace }: AutoscalingBindOptions): AutoscalingConfig {
    const apiVersion = 'keda.sh/v1alpha1';
    const metadata = { name: deploymentName, namespace };
    const { fallback, targetCpuUtilizationPercent } = this.settings;
    return {
      manifests: [
        // KEDA uses the identity of its operator: it finds that of the workload only in an annotation, which EKS Pod Identity doesn't set.
        { apiVersion, kind: 'TriggerAuthentication', metadata, spec: { podIdentity: { provider: 'aws' } } },
        {
          apiVersion,
          kind: 'ScaledObject',
          metadata,
          spec: {
            scaleTargetRef: { name: deploymentName },
            minReplicaCount: this.settings.minReplicas,
            maxReplicaCount: this.settings.maxReplicas,
            pollingInterval: this.settings.pollingSeconds,
            cooldownPeriod: this.settings.cooldownSeconds,
            ...fallback && { fallback },
            ...advanced(this.settings),
            triggers: [{
              type: 'aws-sqs-queue',
              authenticationRef: { name: deploymentName },
              // Otherwise each query of the HorizontalPodAutoscaler, every 15 seconds, is a request in addition to those of the polling
              // interval.
              useCachedMetrics: true,
              metadata: {
                queueURL: this.queue.queueUrl,
                awsRegion: this.queue.env.region,
                queueLength: String(this.settings.queueLength),
                activationQueueLength: '0',
                // A message in flight keeps its replica.
                scaleOnInFlight: 'true',
                scaleOnDelayed: 'false',
              },
            },
            ...targetCpuUtilizationPercent === undefined ? [] : [{
              type: 'cpu',
              metricType: 'Utilization',
              metadata: { value: Tokenization.stringifyNumber(targetCpuUtilizationPercent) },
            }]],
          },
        },
      ],
    };
  }
}

function advanced({ minReplicas, behavior }: KedaSettings) {
  const settings = {
    ...behavior && { horizontalPodAutoscalerConfig: { behavior } },
    // Otherwise the Deployment stays at 0 if another autoscaler follows KEDA, since a HorizontalPodAutoscaler doesn't start from 0.
    ...minReplicas === 0 && { restoreToOriginalReplicaCount: true },
  };
  return Object.keys(settings).length > 0 ? { advanced: settings } : {};
}

/** Makes a HorizontalPodAutoscaler for a metric that an adapter serves as `external.metrics.k8s.io`. */
export class ExternalMetricAutoscaling extends Autoscaling {
  private readonly replicas: Replicas;
  private readonly messages: number;

  constructor(private readonly options: ExternalMetricScalingOptions) {
    super();
    this.messages = messagesPerReplica(options);
    // Zero replicas need a feature gate of Kubernetes that EKS doesn't enable.
    this.replicas = replicasOf(options, 1, 1);
    for (const [name, value] of Object.entries(options.metricLabels ?? {})) {
      if (!Token.isUnresolved(value) && !/^([a-z0-9]([\w.-]{0,61}[a-z0-9])?)?$/i.test(value)) {
        throw new Error(`metricLabels.${name} must be at most 63 letters, digits, '-', '_' and '.', and begin and end with a letter or digit, as `
          + `Kubernetes accepts no other labels; got '${value}'`);
      }
    }
  }

  public bind(_scope: Construct, options: AutoscalingBindOptions): AutoscalingConfig {
    const { metricName: name, metricLabels: matchLabels } = this.options;
    return {
      manifests: [horizontalPodAutoscaler(options, this.replicas, {
        type: 'External',
        external: {
          metric: { name, ...matchLabels === undefined ? {} : { selector: { matchLabels } } },
          target: { type: 'AverageValue', averageValue: String(this.messages) },
        },
      })],
    };
  }
}
