import { Annotations, Duration, Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type * as sqs from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { invalid, located } from '../private/validation';
import { Autoscaling, CpuAutoscalingOptions, KubernetesAccess } from '../workload';
import { attachedPolicy } from './private/attached-policy';
import { ExternalMetricAutoscaling, KedaAutoscaling, kedaSettings } from './private/queue-autoscaling';

/**
 * How long messages may wait, from which follows how many replicas a backlog needs.
 */
export interface QueueLatencyOptions {
  /**
   * How long a message may take from the queue to the end of its processing. It is what the scaling aims at and no promise: under a
   * steady load, messages wait about as long, as fewer replicas are enough then; and a replica more takes until the next look at the
   * queue and then the start of a pod.
   */
  readonly acceptableLatency: Duration;

  /**
   * How long a replica takes for one message, on average. If it processes batches: the time for a batch, divided by its messages.
   */
  readonly messageProcessingTime: Duration;

  /**
   * How many messages a replica processes at the same time.
   *
   * @default 1
   */
  readonly concurrency?: number;

  /**
   * How many replicas run at most. It is what protects a database from a backlog.
   *
   * @default - 10, or `minReplicas` if that is more
   */
  readonly maxReplicas?: number;
}

/**
 * Replicas by the length of the queue, by KEDA.
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
   * How many replicas run at least. With 0, the first message after a quiet time waits for `pollingInterval` and the start of a pod.
   *
   * @default 1
   */
  readonly minReplicas?: number;

  /**
   * How often KEDA asks for the length of the queue. It is one request to Amazon SQS each time, and the HorizontalPodAutoscaler that KEDA
   * makes gets the same answer until the next one.
   *
   * @default - a quarter of `acceptableLatency`, but at least 5 and at most 30 seconds
   */
  readonly pollingInterval?: Duration;

  /**
   * How long the queue has to be empty, with nothing in flight, before the last replica goes. Only for `minReplicas: 0`; everything
   * above is taken back by the HorizontalPodAutoscaler that KEDA makes, five minutes after it isn't needed.
   *
   * @default Duration.minutes(5)
   */
  readonly cooldown?: Duration;

  /**
   * The number of replicas while the length of the queue cannot be read, such as after a change of permissions.
   *
   * @see https://keda.sh/docs/latest/reference/scaledobject-spec/#fallback
   * @default - the number that was reached stays
   */
  readonly fallback?: KedaFallback;

  /**
   * How fast replicas come and go: the `behavior` of the HorizontalPodAutoscaler that KEDA makes.
   *
   * @see https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
   * @default - that of Kubernetes: up at once, down five minutes after it is not needed
   */
  readonly behavior?: { [key: string]: any };

  /**
   * The average CPU use, in percent of the request of a pod, above which there are more replicas, too, whatever the length of the queue.
   *
   * @default - only the queue counts
   */
  readonly targetCpuUtilizationPercent?: number;
}

/**
 * What KEDA does while it has no answer of the queue.
 */
export interface KedaFallback {
  /** How many replicas run then. */
  readonly replicas: number;

  /**
   * After so many failed looks at the queue in a row.
   *
   * @default 3
   */
  readonly failureThreshold?: number;
}

/**
 * Replicas by a metric that an adapter serves to Kubernetes.
 */
export interface ExternalMetricScalingOptions extends QueueLatencyOptions {
  /**
   * The name of the metric in `external.metrics.k8s.io`. Let it count what is visible and what is in flight: a message in work
   * needs its replica.
   */
  readonly metricName: string;

  /**
   * Labels that select this queue's series. Kubernetes takes values of at most 63 characters, and the name of a queue may be longer.
   *
   * @default - none: the metric is of this queue alone
   */
  readonly metricLabels?: { [name: string]: string };

  /**
   * The role of the adapter, if that asks Amazon SQS itself. It gets `sqs:GetQueueAttributes` on the queue and nothing else.
   *
   * @default - no permission: the adapter has its values from elsewhere, such as Amazon CloudWatch
   */
  readonly adapterRole?: iam.IRole;

  /**
   * How many replicas run at least, also when nothing is to do; a HorizontalPodAutoscaler can't go below 1.
   *
   * @default 1
   */
  readonly minReplicas?: number;
}

/**
 * What the scaling of a consumer is bound to.
 */
export interface QueueScalingBindOptions {
  /** The queue that is consumed. */
  readonly queue: sqs.IQueue;

  /** The cluster of the consumer. */
  readonly kubernetes: KubernetesAccess;
}

/**
 * How many replicas of a Kubernetes workload consume a queue.
 *
 * A replica that is taken away gets as long as the target's `processingTime`, and 15 seconds more, to finish its batch; what it doesn't
 * finish is received by another one after the visibility timeout. The PodDisruptionBudget doesn't count here: it only bounds evictions,
 * such as those of a node that is replaced, to one pod at a time.
 *
 * The Deployment states no number of replicas when something scales it, so a deployment doesn't reset what was reached.
 *
 * Lambda scales by itself. What bounds it like `maxReplicas` are `maxConcurrency` and `maxPollers` of `ConsumerTarget.lambdaFunction`.
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
   * Replicas by the length of the queue, with a `ScaledObject` of KEDA. Each replica has at most as many messages before it as it
   * processes in `acceptableLatency`; those in flight count.
   *
   * KEDA 2.13 or newer has to be installed before: apply it with what is given to `KubernetesAccess.addDependency()`, or let your
   * platform do it.
   *
   * @see https://keda.sh/docs/latest/scalers/aws-sqs/
   */
  public static keda(options: KedaScalingOptions): QueueScaling {
    return new KedaScaling(options);
  }

  /**
   * Replicas by CPU, with a HorizontalPodAutoscaler. It cannot see the queue, so it suits only consumers that are busy while
   * messages wait. The cluster needs the `metrics-server` add-on.
   */
  public static cpu(options: CpuAutoscalingOptions = {}): QueueScaling {
    return new WorkloadScaling(Autoscaling.cpu(options));
  }

  /**
   * Replicas by the length of the queue, with a HorizontalPodAutoscaler on an external metric. For clusters with a metrics adapter
   * and without KEDA.
   *
   * @see https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale-walkthrough/#autoscaling-on-metrics-not-related-to-kubernetes-objects
   */
  public static externalMetric(options: ExternalMetricScalingOptions): QueueScaling {
    return new ExternalMetricScaling(options);
  }

  /**
   * Always the same number of replicas.
   *
   * @param replicas the number, at least 0
   */
  public static fixed(replicas: number): QueueScaling {
    return new WorkloadScaling(Autoscaling.fixed(replicas));
  }

  /**
   * Called by the consumer that is scaled.
   *
   * @param scope where resources are made
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

/** Below it, a first message that has to wait for a pod to start is late. */
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

/** In a policy of the consumer: the stack of the scaler's role must not need the one of the queue. */
function allowToMeasure(scope: Construct, prop: string, role: iam.IRole, queue: sqs.IQueue): void {
  const statement = new iam.PolicyStatement({ actions: ['sqs:GetQueueAttributes'], resources: [queue.queueArn] });
  const policy = new iam.Policy(scope, 'ScalerPolicy', { statements: [statement] });
  role.attachInlinePolicy(policy);
  // A role of another account, or one without policy updates, takes no policy.
  if (!attachedPolicy(scope, policy.node.id)) {
    Annotations.of(scope).addWarningV2(`cdk-order-pipeline:${prop}NotUpdated`,
      `${prop} '${role.node.path}' can't be changed here, and the length of the queue can't be read unless the role has this statement: `
      + JSON.stringify(Stack.of(scope).resolve(statement.toStatementJson())));
  }
}
