import { Duration, Lazy, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as iam from 'aws-cdk-lib/aws-iam';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct, IDependable } from 'constructs';
import { IHostedService } from './hosted-service';
import { KubernetesAccess } from './kubernetes-access';
import { KubernetesContainerOptions } from './kubernetes-container-options';
import { KubernetesPod } from './private/kubernetes-pod';
import type { Manifest } from './private/manifest';
import { applyObjects, labelled } from './private/objects';
import { HASH_LENGTH, hashOf } from './private/rollout';
import { WorkloadImage } from './workload-image';
import { invalid, requireInteger, requireSeconds } from '../private/validation';

/** The function that reads from the cluster has 15 minutes, and needs some of them to log in. */
const MAX_WAIT = Duration.minutes(14);

/**
 * Options of a job, without its image.
 */
export interface KubernetesJobOptions extends KubernetesContainerOptions {
  /**
   * The number of retries after which the job has failed.
   *
   * @default 6
   */
  readonly backoffLimit?: number;

  /**
   * The time limit of the job, with its retries.
   *
   * @default Duration.minutes(10)
   */
  readonly timeout?: Duration;

  /**
   * True if the deployment waits for the end of the job, and fails if the job fails. Constructs that depend on the job are then deployed
   * only after its success.
   *
   * A deployment waits at most 14 minutes, as the function that waits has 15. With `KubernetesAccess.manifestsOnly()` it doesn't wait.
   *
   * @default - true, if `timeout` is at most 14 minutes
   */
  readonly waitForCompletion?: boolean;

  /**
   * Exit codes with which the job fails at once, without retries: those that another attempt can't change.
   *
   * @default - none; 65 for the migration of a pipeline, with which a migration says that the database doesn't fit
   */
  readonly failFastExitCodes?: number[];
}

/**
 * Properties of a job.
 */
export interface KubernetesJobProps extends KubernetesJobOptions {
  /** The cluster. */
  readonly kubernetes: KubernetesAccess;

  /** The container image. */
  readonly image: WorkloadImage;
}

/**
 * A run-to-completion job on Kubernetes, such as a database migration.
 *
 * It runs again when its image, command or environment changes. It may also run twice, so it has to be idempotent. The deployment
 * waits for its end, and fails with it.
 *
 * @example
 * declare const kubernetes: KubernetesAccess;
 *
 * new KubernetesJob(this, 'Migration', {
 *   kubernetes,
 *   image: WorkloadImage.fromDirectory('services'),
 *   command: ['node', 'migrate.js'],
 * });
 */
@propertyInjectable
export class KubernetesJob extends Construct implements IHostedService {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.KubernetesJob';

  /** The role that the pods assume. */
  public readonly role: iam.IRole;

  /** The pod identity association, which links the service account to the role. */
  public readonly podIdentity: eks.CfnPodIdentityAssociation;

  /** The principal to grant permissions to: `targetRole` if it is given, otherwise `role`. */
  public readonly grantPrincipal: iam.IPrincipal;

  /** The name of the service account. The name of the job is this name and a hash of its content. */
  public readonly serviceName: string;

  /** The applied manifests. Depend on it to come after them, or add dependencies to it that must come first. */
  public readonly manifest: Construct;

  /**
   * The applied manifests of objects that only some jobs have, such as the `SecurityGroupPolicy`.
   */
  public readonly optionalManifests: Construct[];

  /**
   * The construct that waits for the success of the job. Depend on the job to come after it.
   *
   * @default - none: the deployment doesn't wait
   */
  public readonly completion?: Construct;

  /**
   * The address of the API, which a job doesn't have.
   *
   * @default - undefined
   */
  public readonly url?: string;

  private readonly pod: KubernetesPod;

  constructor(scope: Construct, id: string, props: KubernetesJobProps) {
    super(scope, id);

    const pod = new KubernetesPod(this, { ...props, maxNameLength: 63 - 1 - HASH_LENGTH });
    this.pod = pod;
    this.role = pod.role;
    this.podIdentity = pod.identity;
    this.grantPrincipal = pod.grantPrincipal;
    this.serviceName = pod.serviceName;

    const timeout = props.timeout ?? Duration.minutes(10);
    requireSeconds(this, { timeout });
    const exitCodes = [...new Set(props.failFastExitCodes ?? [])].sort((one, other) => one - other);
    exitCodes.forEach(code => requireInteger(this, 'failFastExitCodes', code, 1, 255));
    const known = !timeout.isUnresolved();
    if (props.waitForCompletion && known && timeout.toMilliseconds() > MAX_WAIT.toMilliseconds()) {
      throw invalid(this, `waitForCompletion needs a timeout of at most ${MAX_WAIT.toHumanString()}, got ${timeout.toHumanString()}: a deployment `
        + 'can\'t wait longer. Give a shorter timeout, or set waitForCompletion to false');
    }
    const waits = props.waitForCompletion ?? (known && timeout.toMilliseconds() <= MAX_WAIT.toMilliseconds());

    const final = (manifest: Manifest) => props.kubernetes._transformed(this, labelled(manifest, pod.selector));
    const job: Manifest = final({
      apiVersion: 'batch/v1',
      kind: 'Job',
      // Kubernetes refuses to change the pod template of a job, so another template is another job.
      metadata: pod.metadata(Lazy.string({ produce: () => `${pod.serviceName}-${hashOf(Stack.of(this).resolve(job.spec))}` })),
      spec: {
        backoffLimit: props.backoffLimit ?? 6,
        activeDeadlineSeconds: timeout.toSeconds(),
        ttlSecondsAfterFinished: Duration.days(1).toSeconds(),
        ...exitCodes.length === 0 ? {} : {
          podFailurePolicy: { rules: [{ action: 'FailJob', onExitCodes: { containerName: 'main', operator: 'In', values: exitCodes } }] },
        },
        template: pod.template({}, { restartPolicy: 'Never' }),
      },
    });
    const applied = applyObjects(this, props.kubernetes, {
      before: pod.securityGroupPolicy().map(final),
      always: [...[pod.serviceAccount(), pod.networkPolicy([])].map(final), job],
    });
    this.manifest = applied.main;
    this.manifest.node.addDependency(...pod.prerequisites);
    this.optionalManifests = applied.before;

    if (waits) {
      const { name } = job.metadata as { name: string };
      const read = (step: string, jsonPath: string, limit: Duration, after: IDependable) =>
        props.kubernetes._waitFor(this, step, { objectType: 'job', objectName: name, jsonPath, timeout: limit }, job, [after]);
      // Two steps: the end of a failed job is seen at once, and not only when the time is over.
      const ended = read('Ended', '.status.conditions[?(@.status=="True")].type', timeout.plus(Duration.seconds(30)), this.manifest);
      this.completion = ended && read('Succeeded', '.status.conditions[?(@.type=="Complete")].type', Duration.minutes(1), ended);
    }
  }

  /** The connections of the pods, for example to open a database to them. */
  public get connections(): ec2.Connections {
    return this.pod.connections;
  }
}
