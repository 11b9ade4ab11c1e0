import { Template } from 'aws-cdk-lib/assertions';

/** A manifest as Kubernetes would get it; what only the deployment knows stands as `${LogicalId}` or `${LogicalId.Attribute}`. */
export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: { [key: string]: string } };
  // Tests look at what they know the shape of.
  readonly spec: any;
}

/** All manifests that a stack applies, in the order of the template. */
export function manifestsOf(template: Template): Manifest[] {
  return Object.values(template.findResources('Custom::AWSCDK-EKS-KubernetesResource')).flatMap(manifestsOfResource);
}

/** The manifests that one resource applies. */
export function manifestsOfResource({ Properties }: { Properties?: { Manifest?: unknown } }): Manifest[] {
  return JSON.parse(render(Properties?.Manifest));
}

export function manifestOf(template: Template, kind: string, name?: RegExp | string): Manifest {
  const found = manifestsOf(template).filter(m => m.kind === kind && (name === undefined || m.metadata.name.match(name)));
  expect(found).toHaveLength(1);
  return found[0];
}

function render(value: unknown): string {
  if (typeof value === 'string') { return value; }
  const [, parts] = (value as { 'Fn::Join': [string, unknown[]] })['Fn::Join'];
  return parts.reduce<string>((text, part) => {
    if (typeof part === 'string') { return text + part; }
    // A number token stands without quotes, where a placeholder needs them.
    return text + (/[:[,]$/.test(text) ? JSON.stringify(placeholder(part)) : placeholder(part));
  }, '');
}

function placeholder(intrinsic: unknown): string {
  const [[name, argument]] = Object.entries(intrinsic as object);
  return `\${${name === 'Fn::Sub' ? String(argument).replace(/[${}]/g, '') : [argument].flat().join('.')}}`;
}
