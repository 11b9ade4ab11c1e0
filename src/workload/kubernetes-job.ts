import { createHash } from 'crypto';
import { Duration, Lazy, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { KubernetesAccess } from './kubernetes-access';
import { KubernetesContainerOptions } from './kubernetes-container-options';
import { KubernetesPod } from './private/kubernetes-pod';
import { WorkloadImage } from './workload-image';

/**
 * Properties of a job.
 */
export interface KubernetesJobProps extends KubernetesContainerOptions {
  /** The cluster. */
  readonly kubernetes: KubernetesAccess;

  /** The container image. */
  readonly image: WorkloadImage;

  /**
   * How often a failed pod is replaced before the job counts as failed.
   *
   * @default 6
   */
  readonly backoffLimit?: number;

  /**
   * How long the job may take, with its retries.
   *
   * @default Duration.minutes(15)
   */
  readonly timeout?: Duration;
}

/**
 * A run-to-completion job on Kubernetes, such as a database migration.
 *
 * It runs again whenever its image, command or environment changes. The deployment applies it and goes on; it doesn't
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
export class KubernetesJob extends Construct implements iam.IGrantable, ec2.IConnectable {
  /** The role of the pods. */
  public readonly role: iam.IRole;

  /** The principal to grant permissions to. */
  public readonly grantPrincipal: iam.IPrincipal;

  /** The name of the service account; the job's own name has a hash of its content behind it. */
  public readonly serviceName: string;

  /** What stands for the applied manifests: depend on it to come after them, let it depend on what must come first. */
  public readonly manifest: Construct;

  private readonly kubernetes: KubernetesAccess;

  constructor(scope: Construct, id: string, props: KubernetesJobProps) {
    super(scope, id);
    this.kubernetes = props.kubernetes;

    const pod = new KubernetesPod(this, { ...props, maxNameLength: 63 - 1 - HASH_LENGTH });
    this.role = pod.role;
    this.grantPrincipal = pod.role.grantPrincipal;
    this.serviceName = pod.serviceName;

    const spec = {
      backoffLimit: props.backoffLimit ?? 6,
      activeDeadlineSeconds: (props.timeout ?? Duration.minutes(15)).toSeconds(),
      ttlSecondsAfterFinished: Duration.days(1).toSeconds(),
      template: pod.template({}, { restartPolicy: 'Never' }),
    };
    this.manifest = props.kubernetes.applyManifest(this, 'Manifest', [
      pod.serviceAccount(),
      pod.networkPolicy([]),
      {
        apiVersion: 'batch/v1',
        kind: 'Job',
        // Kubernetes refuses to change the pod template of a job, so another template is another job.
        metadata: pod.metadata(Lazy.string({ produce: () => `${pod.serviceName}-${hashOf(Stack.of(this).resolve(spec))}` })),
        spec,
      },
    ]);
    this.manifest.node.addDependency(pod.identity, pod.role);
  }

  /** The connections of the pods, for example to open a database to them. */
  public get connections(): ec2.Connections {
    return this.kubernetes.connections;
  }
}

const HASH_LENGTH = 10;

function hashOf(spec: unknown): string {
  return createHash('sha256').update(JSON.stringify(spec)).digest('hex').slice(0, HASH_LENGTH);
}
