import { Annotations, Duration, Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { invalid, located } from '../private/validation';
import { Autoscaling, CpuAutoscalingOptions, KubernetesAccess } from '../workload';
import { attachedPolicy } from './private/attached-policy';
import { ExternalMetricAutoscaling, KedaAutoscaling, kedaSettings } from './private/queue-autoscaling';

/**
 * The latency that the scaling aims at. The number of replicas for a backlog follows from it.
 */
export interface QueueLatencyOptions {
  /**
   * The acceptable time from the arrival of a message to the end of its processing. The scaling aims at it and does not guarantee it.
   * Under a steady load, messages wait about as long, as fewer replicas are enough then. A new replica takes until the next poll of the
   * queue and then the start of a pod.
   */
  readonly acceptableLatency: Duration;

  /**
   * The average time that a replica takes for one message. If it processes batches: the time for a batch, divided by its messages.
   */
  readonly messageProcessingTime: Duration;

  /**
   * The number of messages that a replica processes at the same time.
   *
   * @default 1
   */
  readonly concurrency?: number;

  /**
   * The greatest number of replicas. It protects a database from a backlog.
   *
   * @default - 10, or `minReplicas` if that is more
   */
  readonly maxReplicas?: number;
}

/**
 * Options of the scaling by KEDA, by the length of the queue.
 */
export interface KedaScalingOptions extends QueueLatencyOptions {
  /**
   * The role of KEDA's operator: the one that its service account `keda-operator` has by EKS Pod Identity or by IRSA.
   *
   * It gets `sqs:GetQueueAttributes` on the queue and nothing else, in a policy of the consumer's stack. That needs no permission
   * for the queue's key. A role holds 10,240 characters of such policies, which is about 40 consumers.
   *
   * @see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
   * @default - the one of the cluster's `KubernetesPrerequisites`
   */
  readonly operatorRole?: iam.IRole;

  /**
   * The least number of replicas. With 0, the first message after a quiet time waits for `pollingInterval` and the start of a pod.
   *
   * @default 1
   */
  readonly minReplicas?: number;

  /**
   * The interval at which KEDA reads the length of the queue. Each poll is one request to Amazon SQS. The HorizontalPodAutoscaler that KEDA
   * makes gets the same answer until the next poll.
   *
   * @default - a quarter of `acceptableLatency`, but at least 5 and at most 30 seconds
   */
  readonly pollingInterval?: Duration;

  /**
   * The time for which the queue must be empty, with nothing in flight, until the last replica is removed. Only for `minReplicas: 0`;
   * replicas above that are removed by the HorizontalPodAutoscaler that KEDA makes, five minutes after they aren't needed.
   *
   * @default Duration.minutes(5)
   */
  readonly cooldown?: Duration;

  /**
   * The number of replicas while the length of the queue cannot be read, such as after a change of permissions.
   *
   * @see https://keda.sh/docs/latest/reference/scaledobject-spec/#fallback
   * @default - the number of replicas does not change
   */
  readonly fallback?: KedaFallback;

  /**
   * The speed of adding and removing replicas: the `behavior` of the HorizontalPodAutoscaler that KEDA makes.
   *
   * @see https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
   * @default - that of Kubernetes: replicas are added at once, and removed five minutes after they are not needed
   */
  readonly behavior?: { [key: string]: any };

  /**
   * The average CPU use, in percent of the request of a pod, above which replicas are added for any length of the queue.
   *
   * @default - only the queue counts
   */
  readonly targetCpuUtilizationPercent?: number;
}

/**
 * The behaviour of KEDA while it has no answer from the queue.
 */
export interface KedaFallback {
  /** The number of replicas that run then. */
  readonly replicas: number;

  /**
   * The number of failed polls in a row before that.
   *
   * @default 3
   */
  readonly failureThreshold?: number;
}

/**
 * Options of the scaling by a metric that an adapter serves to Kubernetes.
 */
export interface ExternalMetricScalingOptions extends QueueLatencyOptions {
  /**
   * The name of the metric in `external.metrics.k8s.io`. Let it count visible messages and messages in flight: a message in flight
   * needs its replica.
   */
  readonly metricName: string;

  /**
   * Labels that select the series of this queue. Kubernetes accepts values of at most 63 characters, and the name of a queue may be longer.
   *
   * @default - none: the metric is only for this queue
   */
  readonly metricLabels?: { [name: string]: string };

  /**
   * The role of the adapter, if the adapter itself asks Amazon SQS. It gets `sqs:GetQueueAttributes` on the queue and nothing else.
   *
   * @default - no permission: the adapter gets its values from another source, such as Amazon CloudWatch
   */
  readonly adapterRole?: iam.IRole;

  /**
   * The least number of replicas, even while no messages come; a HorizontalPodAutoscaler can't go below 1.
   *
   * @default 1
   */
  readonly minReplicas?: number;
}

/**
 * The options with which the scaling of a consumer is bound.
 */
export interface QueueScalingBindOptions {
  /** The queue that is consumed. */
  readonly queue: sqs.IQueue;

  /** The cluster of the consumer. */
  readonly kubernetes: KubernetesAccess;
}

/**
 * The number of replicas of a Kubernetes workload that consumes a queue.
 *
 * A replica that is removed gets the target's `processingTime` and 15 seconds more to finish its batch. Messages that it doesn't
 * finish are received by another one after the visibility timeout. The PodDisruptionBudget has no effect on this: it only limits evictions,
 * such as those of a node that is replaced, to one pod at a time.
 *
 * The Deployment states no number of replicas when something scales it, so a deployment doesn't reset it.
 *
 * Lambda scales by itself. Its limits are `maxConcurrency` and `maxPollers` of `ConsumerTarget.lambdaFunction`.
 *
 * @subclassable
 *
 * @example
 * declare const kedaOperatorRole: iam.IRole;
 *
 * QueueScaling.keda({
 *   operatorRole: kedaOperatorRole,
 *   acceptableLatency: Duration.minutes(1),
 *   messageProcessingTime: Duration.millis(200),
 *   maxReplicas: 20,
 *   fallback: { replicas: 4 },
 * });
 */
export abstract class QueueScaling {
  /**
   * Scales by the length of the queue, with a `ScaledObject` of KEDA. Each replica has at most as many waiting messages as it
   * processes in `acceptableLatency`; messages in flight count, too.
   *
   * KEDA 2.13 or newer has to be installed before: give the construct that installs it to `KubernetesAccess.addDependency()`, or let your
   * platform install it.
   *
   * @see https://keda.sh/docs/latest/scalers/aws-sqs/
   */
  public static keda(options: KedaScalingOptions): QueueScaling {
    return new KedaScaling(options);
  }

  /**
   * Scales by CPU, with a HorizontalPodAutoscaler. It does not see the queue, so it fits only consumers that are busy while
   * messages wait. The cluster needs the `metrics-server` add-on.
   */
  public static cpu(options: CpuAutoscalingOptions = {}): QueueScaling {
    return new WorkloadScaling(Autoscaling.cpu(options));
  }

  /**
   * Scales by the length of the queue, with a HorizontalPodAutoscaler on an external metric. For clusters with a metrics adapter
   * and without KEDA.
   *
   * @see https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale-walkthrough/#autoscaling-on-metrics-not-related-to-kubernetes-objects
   */
  public static externalMetric(options: ExternalMetricScalingOptions): QueueScaling {
    return new ExternalMetricScaling(options);
  }

  /**
   * Runs a fixed number of replicas. It needs neither the metrics server nor KEDA.
   *
   * @param replicas the number; with 0 the consumer has no Deployment, and messages wait until the scaling is changed
   */
  public static fixed(replicas: number): QueueScaling {
    return new WorkloadScaling(Autoscaling.fixed(replicas));
  }

  /**
   * Makes the scaling. The consumer calls it.
   *
   * @param scope the scope of the resources
   */
  public abstract bind(scope: Construct, options: QueueScalingBindOptions): Autoscaling;
}

class WorkloadScaling extends QueueScaling {
  constructor(private readonly autoscaling: Autoscaling) {
    super();
  }

  public bind(_scope: Construct, _options: QueueScalingBindOptions): Autoscaling {
    return this.autoscaling;
  }
}

/** The time for the start of a pod. With a lower acceptable latency, the first message is late. */
const POD_START = Duration.minutes(1);

class KedaScaling extends QueueScaling {
  constructor(private readonly options: KedaScalingOptions) {
    super();
  }

  public bind(scope: Construct, { queue, kubernetes }: QueueScalingBindOptions): Autoscaling {
    const { acceptableLatency } = this.options;
    const settings = located(scope, () => kedaSettings(this.options));
    const operatorRole = this.options.operatorRole ?? kubernetes.kedaOperatorRole;
    if (!operatorRole) {
      throw invalid(scope, 'operatorRole must be given to QueueScaling.keda, as the cluster has no `KubernetesPrerequisites` with KEDA: give the '
        + 'role of the service account keda-operator, or make the prerequisites before');
    }
    allowToMeasure(scope, 'operatorRole', operatorRole, queue);
    if (settings.minReplicas === 0 && acceptableLatency.toMilliseconds() < POD_START.toMilliseconds()) {
      Annotations.of(scope).addWarningV2('cdk-order-pipeline:scaleFromZeroTooSlow',
        'minReplicas is 0, so the first message after a quiet time waits until a pod has started, which may take longer than ' +
        `acceptableLatency (${acceptableLatency.toHumanString()}): set minReplicas to 1, or accept ${POD_START.toHumanString()}`);
    }
    return new KedaAutoscaling(queue, settings);
  }
}

class ExternalMetricScaling extends QueueScaling {
  constructor(private readonly options: ExternalMetricScalingOptions) {
    super();
  }

  public bind(scope: Construct, { queue }: QueueScalingBindOptions): Autoscaling {
    const autoscaling = located(scope, () => new ExternalMetricAutoscaling(this.options));
    if (this.options.adapterRole) { allowToMeasure(scope, 'adapterRole', this.options.adapterRole, queue); }
    return autoscaling;
  }
}

/** The policy belongs to the consumer: the stack of the scaler's role must not need the stack of the queue. */
function allowToMeasure(scope: Construct, prop: string, role: iam.IRole, queue: sqs.IQueue): void {
  const statement = new iam.PolicyStatement({ actions: ['sqs:GetQueueAttributes'], resources: [queue.queueArn] });
  const policy = new iam.Policy(scope, 'ScalerPolicy', { statements: [statement] });
  role.attachInlinePolicy(policy);
  // A role of another account, or one without policy updates, accepts no policy.
  if (!attachedPolicy(scope, policy.node.id)) {
    Annotations.of(scope).addWarningV2(`cdk-order-pipeline:${prop}NotUpdated`,
      `${prop} '${role.node.path}' can't be changed here, and the length of the queue can't be read unless the role has this statement: `
      + JSON.stringify(Stack.of(scope).resolve(statement.toStatementJson())));
  }
}
