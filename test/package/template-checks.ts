/** The parts of a synthesized template that are looked at here. */
export interface Template {
  readonly Resources?: { [logicalId: string]: Resource };
  readonly Outputs?: { [logicalId: string]: { readonly Value: unknown } };
}

export interface Resource {
  readonly Type: string;
  readonly DependsOn?: string | string[];
  readonly Properties?: { [name: string]: unknown };
}

/** What a whole pipeline on a cluster of its own must have; each problem is a sentence. */
export function problemsOfWholePipeline(template: Template): string[] {
  return [
    ...problemsOfMigration(template),
    ...problemsOfPrerequisites(template),
    ...problemsOfUrls(template),
  ];
}

/** A migration that starts before there is a database ends as failed, and the deployment is still green. */
export function problemsOfMigration(template: Template): string[] {
  const migrations = resources(template, 'Custom::AWSCDK-EKS-KubernetesResource').filter(({ Properties }) => textOf(Properties?.Manifest).includes('"kind":"Job"'));
  if (migrations.length !== 1) { return [`there are ${migrations.length} manifests with a Job instead of one: the migration`]; }

  const before = [migrations[0].DependsOn ?? []].flat().map(id => template.Resources?.[id]);
  const comesAfter = (matches: (resource: Resource) => boolean) => before.some(resource => resource !== undefined && matches(resource));
  const isInstance = (resource: Resource, writer: boolean) => resource.Type === 'AWS::RDS::DBInstance' && (resource.Properties?.PromotionTier === 0) === writer;
  const databasePort = resources(template, 'AWS::RDS::DBCluster')[0]?.Properties?.Port;
  return [
    ...comesAfter(resource => isInstance(resource, true)) ? [] : ['the migration does not wait for the writer of the database'],
    ...comesAfter(resource => isInstance(resource, false)) ? [] : ['the migration does not wait for the reader of the database'],
    ...comesAfter(({ Type, Properties }) => Type === 'AWS::EC2::SecurityGroupIngress' && Properties?.FromPort === databasePort && databasePort !== undefined)
      ? [] : ['the migration does not wait for the rule that opens the database to the cluster'],
  ];
}

/** Without the first, autoscaling has no figures to go by; without the second, network policies are without effect. */
export function problemsOfPrerequisites(template: Template): string[] {
  const manifests = resources(template, 'Custom::AWSCDK-EKS-KubernetesResource').map(({ Properties }) => textOf(Properties?.Manifest));
  return [
    ...resources(template, 'AWS::EKS::Addon').some(({ Properties }) => Properties?.AddonName === 'metrics-server')
      ? [] : ['there is no add-on metrics-server'],
    ...manifests.some(text => text.includes('"kind":"ConfigMap"') && text.includes('"name":"amazon-vpc-cni"')
      && text.includes('"enable-network-policy-controller":"true"')) ? [] : ['network policies are not switched on'],
  ];
}

/** Nobody finds the load balancers otherwise: their names are made by the cluster. */
export function problemsOfUrls(template: Template): string[] {
  const urls = Object.entries(template.Outputs ?? {});
  return ['CommandApiUrl', 'QueryApiUrl'].flatMap(name => {
    const [, output] = urls.find(([id]) => id.includes(name)) ?? [];
    if (output === undefined) { return [`there is no output ${name}`]; }
    return /^(https:\/\/\$\{[^}]+\}|http:\/\/\$\{[^}]+\}:300\d)$/.test(textOf(output.Value)) ? [] : [`the output ${name} is no URL: ${JSON.stringify(output.Value)}`];
  });
}

/** A value of a template as text; what only the deployment knows stands as `${LogicalId.Attribute}`. */
export function textOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) { return String(value); }
  const [[name, argument]] = Object.entries(value);
  return name === 'Fn::Join' ? (argument[1] as unknown[]).map(textOf).join(argument[0]) : `\${${[argument].flat().map(String).join('.')}}`;
}

function resources(template: Template, type: string): Resource[] {
  return Object.values(template.Resources ?? {}).filter(resource => resource.Type === type);
}
