import { Token } from 'aws-cdk-lib';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as ecr_assets from 'aws-cdk-lib/aws-ecr-assets';
import { Construct } from 'constructs';

/**
 * Options of an image that is built from a directory.
 */
export interface DirectoryImageOptions {
  /**
   * The platform of the image. Pods run only on nodes of that architecture.
   *
   * @default Platform.LINUX_AMD64 - the default of the node pools of EKS Auto Mode
   */
  readonly platform?: ecr_assets.Platform;
}

/**
 * Options of an image that exists.
 */
export interface ExistingImageOptions {
  /**
   * The platform of the image. Pods run only on nodes of that architecture.
   *
   * @default - unknown: the image is for every architecture of the nodes
   */
  readonly platform?: ecr_assets.Platform;
}

/**
 * The result of binding an image.
 */
export interface WorkloadImageConfig {
  /** The address of the image with its tag or digest. */
  readonly imageUri: string;

  /**
   * The architecture of the nodes that can run it, as in the label `kubernetes.io/arch`.
   *
   * @default - any
   */
  readonly architecture?: string;
}

/**
 * The container image of a workload.
 *
 * @subclassable
 */
export abstract class WorkloadImage {
  /**
   * Builds the Dockerfile of a directory. It is built at deployment; synthesis needs no Docker.
   * Workloads of the same directory share one image.
   */
  public static fromDirectory(directory: string, options: DirectoryImageOptions = {}): WorkloadImage {
    return new DirectoryImage(directory, options);
  }

  /** Uses an image of any registry that the nodes can pull from, such as `public.ecr.aws/team/orders:1.4.0`. */
  public static fromRegistry(imageUri: string, options: ExistingImageOptions = {}): WorkloadImage {
    return new RegistryImage(imageUri, options);
  }

  /** Uses an image of an ECR repository, with its tag or its digest. */
  public static fromEcrRepository(repository: ecr.IRepository, tagOrDigest: string, options: ExistingImageOptions = {}): WorkloadImage {
    return new EcrImage(repository, tagOrDigest, options);
  }

  /** Returns the image for a container. The workload calls it. */
  public abstract bind(scope: Construct): WorkloadImageConfig;
}

class DirectoryImage extends WorkloadImage {
  constructor(private readonly directory: string, private readonly options: DirectoryImageOptions) {
    super();
  }

  public bind(scope: Construct): WorkloadImageConfig {
    const platform = this.options.platform ?? ecr_assets.Platform.LINUX_AMD64;
    const asset = new ecr_assets.DockerImageAsset(scope, 'Image', { directory: this.directory, platform });
    return { imageUri: asset.imageUri, ...architectureOf(platform) };
  }
}

class RegistryImage extends WorkloadImage {
  constructor(private readonly imageUri: string, private readonly options: ExistingImageOptions) {
    super();
    if (!Token.isUnresolved(imageUri) && !/[^/]([:@])[^/]+$/.test(imageUri)) {
      throw new Error(`The image '${imageUri}' has neither a tag nor a digest; name the version that is meant, such as '${imageUri}:1.0.0'.`);
    }
    if (!Token.isUnresolved(imageUri) && /[A-Z]/.test(repositoryOf(imageUri))) {
      throw new Error(`The image '${imageUri}' has capital letters in its name, which no container runtime accepts: is it `
        + `'${imageUri.replace(repositoryOf(imageUri), repositoryOf(imageUri).toLowerCase())}'?`);
    }
  }

  public bind(_scope: Construct): WorkloadImageConfig {
    return { imageUri: this.imageUri, ...architectureOf(this.options.platform) };
  }
}

class EcrImage extends WorkloadImage {
  constructor(
    private readonly repository: ecr.IRepository, private readonly tagOrDigest: string, private readonly options: ExistingImageOptions,
  ) {
    super();
  }

  public bind(_scope: Construct): WorkloadImageConfig {
    return { imageUri: this.repository.repositoryUriForTagOrDigest(this.tagOrDigest), ...architectureOf(this.options.platform) };
  }
}

function architectureOf(platform?: ecr_assets.Platform): { architecture?: string } {
  return platform === undefined ? {} : { architecture: platform.platform.split('/')[1] };
}

/** Returns the name of an image without its registry, whose host name may have capital letters, and without tag and digest. */
function repositoryOf(imageUri: string): string {
  const [first, ...rest] = imageUri.replace(/@.*$/, '').replace(/:[^/:]*$/, '').split('/');
  return rest.length > 0 && (/[.:]/.test(first) || first === 'localhost') ? rest.join('/') : [first, ...rest].join('/');
}
