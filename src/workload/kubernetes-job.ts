import { createHash } from 'crypto';
import { Duration, Lazy, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as iam from 'aws-cdk-lib/aws-iam';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import { IHostedService } from './hosted-service';
import { KubernetesAccess } from './kubernetes-access';
import { KubernetesContainerOptions } from './kubernetes-container-options';
import { KubernetesPod } from './private/kubernetes-pod';
import { WorkloadImage } from './workload-image';

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
   * @default Duration.minutes(15)
   */
  readonly timeout?: Duration;
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
 * It runs again when its image, command or environment changes. The deployment applies it and continues: it doesn't
 * wait for the job to end, and a job may run again, so it has to be idempotent.
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

    const spec = {
      backoffLimit: props.backoffLimit ?? 6,
      activeDeadlineSeconds: (props.timeout ?? Duration.minutes(15)).toSeconds(),
      ttlSecondsAfterFinished: Duration.days(1).toSeconds(),
      template: pod.template({}, { restartPolicy: 'Never' }),
    };
    this.manifest = props.kubernetes.applyManifest(this, 'Manifest', [
      pod.serviceAccount(),
      ...pod.securityGroupPolicy(),
      pod.networkPolicy([]),
      {
        apiVersion: 'batch/v1',
        kind: 'Job',
        // Kubernetes refuses to change the pod template of a job, so another template is another job.
        metadata: pod.metadata(Lazy.string({ produce: () => `${pod.serviceName}-${hashOf(Stack.of(this).resolve(spec))}` })),
        spec,
      },
    ]);
    this.manifest.node.addDependency(...pod.prerequisites);
  }

  /** The connections of the pods, for example to open a database to them. */
  public get connections(): ec2.Connections {
    return this.pod.connections;
  }
}

const HASH_LENGTH = 10;

function hashOf(spec: unknown): string {
  return createHash('sha256').update(JSON.stringify(spec)).digest('hex').slice(0, HASH_LENGTH);
}
