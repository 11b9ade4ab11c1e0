import * as s3 from 'aws-cdk-lib/aws-s3';
import * as s3deploy from 'aws-cdk-lib/aws-s3-deployment';
import { propertyInjectable } from 'aws-cdk-lib/core/lib/prop-injectable';
import { Construct } from 'constructs';
import { KubernetesAccess } from './kubernetes-access';

/**
 * Properties of the files with manifests.
 */
export interface KubernetesManifestFilesProps {
  /** The access whose objects are written. Make its workloads, jobs and consumers before; later it is an error. */
  readonly kubernetes: KubernetesAccess;

  /** The bucket that gets the files. */
  readonly bucket: s3.IBucket;

  /**
   * The folder of the files. Everything else in it is deleted, as files of removed workloads have to go.
   *
   * @default - the namespace
   */
  readonly prefix?: string;
}

/**
 * The Kubernetes objects of an access as YAML files in a bucket, for a GitOps tool.
 *
 * Each file has the objects of one name, such as a workload with its Service and its autoscaler, as a `List`. The deployment resolves the
 * values that only AWS has: role ARNs, queue URLs and image digests. Flux reads the files from the bucket (`Bucket` source); for Argo CD, a
 * pipeline copies them into a repository.
 *
 * @see https://fluxcd.io/flux/components/source/buckets/
 *
 * @example
 * declare const image: WorkloadImage;
 * declare const bucket: s3.Bucket;
 * const kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'platform', namespace: 'reports' });
 * new KubernetesWorkload(this, 'Reports', { kubernetes, image });
 *
 * new KubernetesManifestFiles(this, 'Files', { kubernetes, bucket });
 */
@propertyInjectable
export class KubernetesManifestFiles extends Construct {
  /** Uniquely identifies this class for property injectors. */
  public static readonly PROPERTY_INJECTION_ID: string = 'cdk-order-pipeline.KubernetesManifestFiles';

  /** The deployment of the files. Depend on it to come after them. */
  public readonly deployment: s3deploy.BucketDeployment;

  /** The keys of the files in the bucket. */
  public readonly keys: string[];

  constructor(scope: Construct, id: string, props: KubernetesManifestFilesProps) {
    super(scope, id);
    const { kubernetes, bucket, prefix = kubernetes.namespace } = props;
    const files = kubernetes._write(this);
    this.deployment = new s3deploy.BucketDeployment(this, 'Deployment', {
      destinationBucket: bucket,
      destinationKeyPrefix: prefix,
      sources: files.map(({ name, items }) => s3deploy.Source.yamlData(name, { apiVersion: 'v1', kind: 'List', items })),
      retainOnDelete: false,
    });
    this.keys = files.map(({ name }) => `${prefix}/${name}`);
  }
}
