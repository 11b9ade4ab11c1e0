import { App, CfnResource, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import { DependencyGroup } from 'constructs';
import { externalTarget, functionOf, image, kubernetesTarget, ownTarget, roleOf, vpcOf } from './targets';
import {
  BufferedEventConsumer, BufferedEventConsumerProps, ConsumerTarget, ConsumerTargetBindOptions, CqrsAuroraCluster, DatabaseAccess,
  ICqrsDatabase, IConsumerTarget, QueueScaling,
} from '../../src';
import { testKubernetes } from '../cluster';
import { existingDatabase } from '../database';
import { manifestOf } from '../kubernetes-manifests';

let app: App;
let stack: Stack;
beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Test');
});

function consumerOf(target: IConsumerTarget, props: Partial<BufferedEventConsumerProps> = {}): BufferedEventConsumer {
  return new BufferedEventConsumer(stack, 'Consumer', { eventPattern: { detailType: ['OrderCreated'] }, target, ...props });
}

const clusterOf = (scope = stack) => new CqrsAuroraCluster(scope, 'Database', { vpc: vpcOf(scope) });
const inVpc = () => ConsumerTarget.lambdaFunction(functionOf(stack, { vpc: vpcOf(stack) }));
const resource = (scope: Stack | undefined = stack, id = 'First') => new CfnResource(scope, id, { type: 'AWS::CloudFormation::WaitConditionHandle' });

/** The secrets that identity policies let somebody read. */
const secrets = (from = stack) => Object.values(Template.fromStack(from).findResources('AWS::IAM::Policy'))
  .flatMap(({ Properties }) => Properties.PolicyDocument.Statement)
  .filter(({ Action }) => Action === 'secretsmanager:GetSecretValue').map(({ Resource }) => Resource);
const ingress = (from = stack) => Object.values(Template.fromStack(from).findResources('AWS::EC2::SecurityGroupIngress'))
  .map(({ Properties }) => [Properties.SourceSecurityGroupId, Properties.FromPort, Properties.ToPort]);

describe.each([
  ['command', /^DatabaseCommandSecret/],
  ['query', /^DatabaseQuerySecret/],
] as const)('databaseAccess to the %s side', (side, secret) => {
  const access = (database: ICqrsDatabase) => DatabaseAccess[side](database);
  const environment = {
    DB_ENGINE: 'postgres',
    DB_NAME: 'orders',
    DB_PORT: '5433',
    DB_READER_PORT: '5433',
    DB_SECRET_ARN: { Ref: expect.stringMatching(secret) },
    DB_WRITER_ENDPOINT: { 'Fn::GetAtt': [expect.stringMatching(/^DatabaseCluster/), 'Endpoint.Address'] },
    DB_READER_ENDPOINT: { 'Fn::GetAtt': [expect.stringMatching(/^DatabaseCluster/), 'ReadEndpoint.Address'] },
  };
  /** The instances and the rule that lets the target in. */
  const waitsFor = () => {
    const template = Template.fromStack(stack);
    const ids = ['AWS::RDS::DBInstance', 'AWS::EC2::SecurityGroupIngress'].flatMap((type) => Object.keys(template.findResources(type)));
    expect(ids).toHaveLength(3);
    return expect.arrayContaining(ids);
  };

  test('is all that a Lambda function needs', () => {
    const consumer = consumerOf(inVpc(), { databaseAccess: access(clusterOf()), environment: { LOG_LEVEL: 'debug' } });
    const template = Template.fromStack(stack);
    const [fn] = Object.values(template.findResources('AWS::Lambda::Function'));
    expect(fn!.Properties.Environment.Variables).toEqual({ ...environment, LOG_LEVEL: 'debug' });
    expect(secrets()).toEqual([{ Ref: expect.stringMatching(secret) }]);
    expect(ingress()).toEqual([[{ 'Fn::GetAtt': [expect.stringMatching(/^FunctionSecurityGroup/), 'GroupId'] }, 5433, 5433]]);
    const [mapping] = Object.values(template.findResources('AWS::Lambda::EventSourceMapping'));
    expect(mapping!.DependsOn).toEqual(waitsFor());
    // The rule needs the function's security group, so it is the mapping that waits, not the function.
    expect(JSON.stringify(fn!.DependsOn)).not.toContain('Database');
    expect(consumer.environment.DB_NAME).toBe('orders');
    Annotations.fromStack(stack).hasNoWarning('/Test/Consumer', Match.anyValue());
  });

  test('is all that a workload on Kubernetes needs', () => {
    consumerOf(kubernetesTarget(stack), { databaseAccess: access(clusterOf()), egressPorts: [6379] });
    const template = Template.fromStack(stack);
    const variables: { name: string; value: string }[] = manifestOf(template, 'Deployment').spec.template.spec.containers[0].env;
    expect(Object.fromEntries(variables.map(({ name, value }) => [name, value]))).toMatchObject({
      DB_ENGINE: 'postgres',
      DB_NAME: 'orders',
      DB_PORT: '5433',
      DB_READER_PORT: '5433',
      DB_SECRET_ARN: expect.stringMatching(new RegExp(secret.source.replace('^', '^\\$\\{'))),
      DB_WRITER_ENDPOINT: expect.stringMatching(/\.Endpoint\.Address\}$/),
      DB_READER_ENDPOINT: expect.stringMatching(/\.ReadEndpoint\.Address\}$/),
    });
    expect(manifestOf(template, 'NetworkPolicy').spec.egress[1].ports.map(({ port }: { port: number }) => port)).toEqual([443, 5433, 6379]);
    expect(secrets()).toEqual([{ Ref: expect.stringMatching(secret) }]);
    expect(ingress()).toEqual([['sg-cluster', 5433, 5433]]);
    const [manifest] = Object.values(template.findResources('Custom::AWSCDK-EKS-KubernetesResource'));
    expect(manifest!.DependsOn).toEqual(waitsFor());
  });
});

test('without databaseAccess there is no way to a database', () => {
  const database = clusterOf();
  consumerOf(inVpc());
  expect([secrets(), ingress()]).toEqual([[], []]);
  expect(JSON.stringify(Template.fromStack(stack).findResources('AWS::Lambda::Function'))).not.toContain('DB_');
  expect(database.connections.securityGroups).toHaveLength(1);
});

test('a given variable is on top of those of the database', () => {
  consumerOf(inVpc(), { databaseAccess: DatabaseAccess.command(clusterOf()), environment: { DB_NAME: 'other' } });
  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: { DB_NAME: 'other', DB_ENGINE: 'postgres' } } });
});

describe('databaseAccess of a target of one\'s own', () => {
  test('is handed over, with both ports if the readers have one of their own', () => {
    let bound: ConsumerTargetBindOptions;
    const target: IConsumerTarget = { bind: (_scope, options) => { bound = options; return {}; } };
    const databaseAccess = DatabaseAccess.query(existingDatabase(stack, { readerPort: 6432 }));
    const consumer = consumerOf(target, { databaseAccess, egressPorts: [443] });
    expect(bound!.egressPorts).toEqual([5432, 6432, 443]);
    expect(bound!.environment).toEqual({
      QUEUE_URL: consumer.queue.queueUrl,
      DB_ENGINE: 'postgres',
      DB_NAME: 'shop',
      DB_PORT: '5432',
      DB_READER_PORT: '6432',
      DB_SECRET_ARN: 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:query-AbCdEf',
      DB_WRITER_ENDPOINT: 'writer.example',
      DB_READER_ENDPOINT: 'reader.example',
    });
  });

  const own = () => new ec2.Connections({ securityGroups: [ec2.SecurityGroup.fromSecurityGroupId(stack, 'Own', 'sg-own')] });
  test.each<[string, string | undefined, number, number, () => IConsumerTarget]>([
    ['identity and connections', undefined, 1, 1, () => ownTarget({ grantee: roleOf(stack), connections: own() })],
    ['no connections', 'connections', 1, 0, () => ownTarget({ grantee: roleOf(stack) })],
    ['no connections, as a process elsewhere', 'connections', 1, 0, () => externalTarget(roleOf(stack))],
    ['no connections, as a function outside of a VPC', 'connections', 1, 0, () => ConsumerTarget.lambdaFunction(functionOf(stack))],
    ['no identity', 'identity', 0, 1, () => ownTarget({ connections: own() })],
    ['neither', 'identity', 0, 0, () => ownTarget()],
  ])('that says %s gets what it can, and is warned of what is missing', (_, missing, credentials, paths, target) => {
    consumerOf(target(), { databaseAccess: DatabaseAccess.command(existingDatabase(stack)) });
    expect([secrets().length, ingress().length]).toEqual([credentials, paths]);
    const warnings = Annotations.fromStack(stack).findWarning('/Test/Consumer', Match.stringLikeRegexp('consumerWithoutDatabaseAccess'));
    expect(warnings.map(({ entry }) => entry.data)).toEqual(missing === undefined ? [] : [`the ${missing} of the target `
      + `${missing === 'identity' ? 'is' : 'are'} unknown, so it has no access to the database: `
      + 'put its function in the VPC, or open database.connections and grant the credentials yourself '
      + '[ack: cdk-order-pipeline:consumerWithoutDatabaseAccess]']);
  });
});

/** Which of three parts stand in one stack: by letters, such as `AAB`. */
const PLACES = ['AAA', 'AAB', 'ABA', 'ABB', 'ABC'];
const stacksOf = (places: string) => [...places].map((id) => app.node.tryFindChild(id) as Stack | undefined ?? new Stack(app, id));
/** The stacks that a stack waits for, with those behind them. */
const before = (of: Stack): Stack[] => of.dependencies.flatMap((other) => [other, ...before(other)]);

describe.each(PLACES)('database, consumer and its host in the stacks %s', (places) => {
  test('of a function need no other in a circle, and the mapping waits for the database', () => {
    const [databases, consumers, hosts] = stacksOf(places);
    stack = consumers!;
    const database = clusterOf(databases);
    const { targetConfig } = consumerOf(ConsumerTarget.lambdaFunction(functionOf(hosts!, { vpc: vpcOf(hosts!) })), {
      databaseAccess: DatabaseAccess.command(database),
    });
    app.synth();
    const owner = Stack.of(targetConfig.eventSourceMapping!);
    if (owner !== databases) { expect(before(owner)).toContain(databases); }
    expect(secrets(hosts)).toHaveLength(1);
    const rules = [databases!, hosts!].filter((each, index, all) => all.indexOf(each) === index).flatMap((each) => ingress(each));
    expect(rules).toHaveLength(1);
  });

  test('of a workload on Kubernetes need no other in a circle, and the manifest waits for the database', () => {
    const [databases, consumers, hosts] = stacksOf(places);
    stack = consumers!;
    const podSecurityGroup = new ec2.SecurityGroup(hosts!, 'PodGroup', { vpc: vpcOf(hosts!) });
    const { targetConfig } = consumerOf(ConsumerTarget.kubernetes(testKubernetes(hosts!, { podSecurityGroup }), {
      image, scaling: QueueScaling.fixed(1), serviceName: 'stock',
    }), { databaseAccess: DatabaseAccess.command(clusterOf(databases)) });
    app.synth();
    const owner = Stack.of(targetConfig.workload!.manifest);
    expect(owner).toBe(consumers);
    if (owner !== databases) { expect(before(owner)).toContain(databases); }
    // The platform needs nobody.
    if (hosts !== databases && hosts !== consumers) { expect(before(hosts!)).toEqual([]); }
  });
});

describe('dependencies', () => {
  const dependsOn = (type: string) => Object.values(Template.fromStack(stack).findResources(type))
    .map(({ DependsOn }) => [DependsOn].flat());

  test('of a Lambda function come before its mapping, and nothing else waits', () => {
    consumerOf(ConsumerTarget.lambdaFunction(functionOf(stack)), { dependencies: [resource(), resource(stack, 'Second')] });
    expect(dependsOn('AWS::Lambda::EventSourceMapping')).toEqual([expect.arrayContaining(['First', 'Second'])]);
    const waiting = Object.values<{ Type: string; DependsOn?: string[] }>(Template.fromStack(stack).toJSON().Resources)
      .filter(({ DependsOn }) => DependsOn?.includes('First')).map(({ Type }) => Type);
    expect(waiting).toEqual(['AWS::Lambda::EventSourceMapping']);
  });

  test('of a workload on Kubernetes come before its manifest', () => {
    consumerOf(kubernetesTarget(stack), { dependencies: [resource()] });
    // The autoscaler comes after the manifest.
    expect(dependsOn('Custom::AWSCDK-EKS-KubernetesResource')).toEqual([
      expect.arrayContaining(['First']), [expect.stringMatching(/^ConsumerWorkloadManifest/)],
    ]);
  });

  test('of a target of one\'s own come before all that it says', () => {
    const dependable = new DependencyGroup(resource(stack, 'Service'), resource(stack, 'Schedule'));
    consumerOf(ownTarget({ dependable }), { dependencies: [resource()], databaseAccess: DatabaseAccess.command(clusterOf()) });
    const { Service, Schedule } = Template.fromStack(stack).toJSON().Resources;
    const instances = Object.keys(Template.fromStack(stack).findResources('AWS::RDS::DBInstance'));
    expect(Service.DependsOn).toEqual(expect.arrayContaining(['First', ...instances]));
    expect(Schedule.DependsOn).toEqual(expect.arrayContaining(['First', ...instances]));
  });

  test('of a target that says nothing, and of a process elsewhere, change nothing', () => {
    consumerOf(ownTarget(), { dependencies: [resource()] });
    new BufferedEventConsumer(stack, 'Elsewhere', {
      eventPattern: { source: ['shop'] },
      target: externalTarget(iam.Role.fromRoleArn(stack, 'Role', 'arn:aws:iam::111122223333:role/elsewhere')),
      dependencies: [resource(stack, 'Second')],
    });
    expect(JSON.stringify(Template.fromStack(stack).toJSON())).not.toContain('"DependsOn"');
  });

  test('may be in another stack', () => {
    const other = new Stack(app, 'Other');
    consumerOf(ConsumerTarget.lambdaFunction(functionOf(stack)), { dependencies: [resource(other)] });
    app.synth();
    expect(stack.dependencies).toEqual([other]);
  });
});
