import * as cdk from 'aws-cdk-lib';
import * as assets from 'aws-cdk-lib/aws-ecr-assets';

export interface ImagesOptions {
  readonly outdir: string;
  /** The folders of the images, by the names of their Deployments. */
  readonly images: Readonly<Record<string, string>>;
  /** Takes the folders as they are, as `cdk synth --no-staging` does. */
  readonly withoutStaging?: boolean;
  readonly container?: object;
}

/** A stack with a Deployment and a Service for each image, in plain CDK. */
export function synthesizeImages({ outdir, images, withoutStaging = false, container = {} }: ImagesOptions): string {
  const app = new cdk.App({ outdir, analyticsReporting: false, context: withoutStaging ? { 'aws:cdk:disable-asset-staging': true } : {} });
  const stack = new cdk.Stack(app, 'Images');
  const objects = Object.entries(images).flatMap(([name, directory]) => {
    const image = new assets.DockerImageAsset(stack, name, { directory }).imageUri;
    const labels = { app: name };
    return [
      { kind: 'Deployment', metadata: { name }, spec: { template: { metadata: { labels }, spec: { containers: [{ name: 'main', image, ...container }] } } } },
      { kind: 'Service', metadata: { name }, spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] } },
    ];
  });
  new cdk.CfnResource(stack, 'Manifest', { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: stack.toJsonString(objects) } });
  app.synth();
  return outdir;
}
