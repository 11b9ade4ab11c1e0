import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { compilePattern, matchesPattern } from 'cdk-local-run/eventbridge/pattern';
import { ORDER_PIPELINE_IMAGE } from './image.ts';
import { OrderPipelineStack } from './stack.ts';
import { defaultSettings, detailTypesOf, type Settings } from '../../lib/settings.ts';
import { bundleHead, bundleOf, detailTypeOf, type EventEnvelope } from '../../services/shared/events/index.ts';
import { synthesizer } from '../../test/stacks.ts';

interface Resource {
  readonly Type: string;
  readonly DependsOn?: string[];
  // Templates are read as they are.
  readonly Properties: any;
}

interface Template {
  readonly Resources: { readonly [logicalId: string]: Resource };
  readonly Outputs: { readonly [name: string]: { readonly Value: unknown } };
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: { readonly [name: string]: string } };
  readonly spec: any;
}

const APP = join(import.meta.dirname, '..', '..');
/** Those that run in the cluster; the local run puts several into one process. */
const PROGRAMS = Object.keys(ORDER_PIPELINE_IMAGE.entries).filter(name => name !== 'several').sort();
const synthesizeApp = synthesizer();

function synthesize(settings?: Settings, checks = false) {
  const { stack, assembly } = synthesizeApp((app, images) => new OrderPipelineStack(app, 'OrderPipeline', { images, settings }), checks);
  const { Resources: resources, Outputs: outputs }: Template = assembly.getStackByName('OrderPipeline').template;
  const ofType = (type: string) => Object.values(resources).filter(resource => resource.Type === type).map(resource => resource.Properties);
  const manifests = ofType('Custom::AWSCDK-EKS-KubernetesResource').flatMap(({ Manifest }): Manifest[] => JSON.parse(render(Manifest)));
  const idsOf = (type: string) => Object.keys(resources).filter(id => resources[id]!.Type === type);
  const ofKind = (kind: string) => manifests.filter(m => m.kind === kind);
  return { stack, directory: assembly.directory, resources, outputs, idsOf, ofType, ofKind };
}

/** What only the deployment knows becomes a word; a number among it is quoted. */
function render(value: string | { 'Fn::Join': [string, unknown[]] }): string {
  if (typeof value === 'string') { return value; }
  return value['Fn::Join'][1].reduce<string>((text, part) => text + (typeof part === 'string' ? part : /[:[,]$/.test(text) ? '"?"' : '?'), '');
}

describe('the stack', () => {
  const { resources, outputs, idsOf, ofType, ofKind } = synthesize();
  const consumers = Object.keys(defaultSettings.consumers).sort();
  const queues = ofType('AWS::SQS::Queue').filter(queue => queue.RedrivePolicy);
  const alarms = ofType('AWS::CloudWatch::Alarm');
  // What applies a workload or the migration.
  const services = idsOf('Custom::AWSCDK-EKS-KubernetesResource').filter(id => id.startsWith('Pipeline'));

  test('has a cluster that nobody outside of the VPC can reach, with all logs', () => {
    // cdk-nag can't tell: its rules for EKS don't know the clusters of aws-eks-v2.
    const [cluster, ...others] = ofType('AWS::EKS::Cluster');
    assert.deepEqual(others, []);
    assert.equal(cluster.ResourcesVpcConfig.EndpointPublicAccess, false);
    assert.equal(cluster.ResourcesVpcConfig.EndpointPrivateAccess, true);
    assert.deepEqual(
      cluster.Logging.ClusterLogging.EnabledTypes.map((type: { Type: string }) => type.Type).sort(),
      ['api', 'audit', 'authenticator', 'controllerManager', 'scheduler'],
    );
    assert.deepEqual(cluster.EncryptionConfig[0].Resources, ['secrets']);
    assert.ok(cluster.EncryptionConfig[0].Provider.KeyArn);
  });

  test('runs one workload per program of the image, with an autoscaler, a budget and a network policy of its own', () => {
    const names = (kind: string) => ofKind(kind).map(m => m.metadata.name).sort();
    assert.deepEqual(names('Deployment'), PROGRAMS);
    assert.deepEqual(names('ScaledObject'), consumers);
    assert.deepEqual(names('HorizontalPodAutoscaler'), PROGRAMS.filter(program => !consumers.includes(program)));
    assert.deepEqual(names('PodDisruptionBudget'), PROGRAMS);
    // The last is for pods of others.
    assert.deepEqual(names('NetworkPolicy'), [...PROGRAMS, 'migration', 'default-deny'].sort());
    for (const { metadata, spec } of ofKind('Deployment')) {
      assert.deepEqual(spec.template.spec.containers[0].command, ['node', `${metadata.name}.js`]);
    }
    assert.deepEqual(ofKind('Job').map(m => m.spec.template.spec.containers[0].command), [['node', 'migrate.js']]);
  });

  test('keeps at least two replicas of everything', () => {
    const least = [...ofKind('HorizontalPodAutoscaler'), ...ofKind('ScaledObject')].map(({ spec }) => spec.minReplicas ?? spec.minReplicaCount);
    assert.equal(least.length, PROGRAMS.length);
    assert.deepEqual([...new Set(least)], [2]);
  });

  test('scales every consumer by its own queue, and one of them by its processor too', () => {
    for (const { metadata: { name }, spec } of ofKind('ScaledObject')) {
      assert.equal(spec.scaleTargetRef.name, name);
      assert.deepEqual([spec.minReplicaCount, spec.maxReplicaCount, spec.pollingInterval], [2, 10, 5]);
      assert.deepEqual(spec.fallback, { replicas: 4, failureThreshold: 3 });
      assert.deepEqual(spec.advanced.horizontalPodAutoscalerConfig.behavior, { scaleDown: { policies: [{ type: 'Percent', value: 50, periodSeconds: 60 }] } });
      const [queue, ...others] = spec.triggers;
      // 20 seconds at 2 ms for each message.
      assert.deepEqual([queue.type, queue.metadata.queueLength, queue.authenticationRef.name], ['aws-sqs-queue', '10000', name]);
      assert.deepEqual(others, name === 'analytics-service' ? [{ type: 'cpu', metricType: 'Utilization', metadata: { value: '80' } }] : []);
    }
    assert.deepEqual(ofKind('TriggerAuthentication').map(({ metadata, spec }) => [metadata.name, spec.podIdentity.provider]).sort(), consumers.map(name => [name, 'aws']));
    // No Deployment states a number that a deployment would go back to.
    assert.deepEqual(ofKind('Deployment').filter(({ spec }) => 'replicas' in spec), []);
  });

  test('lets KEDA read the lengths of the queues, and do nothing else', () => {
    const operator: string = ofType('AWS::EKS::PodIdentityAssociation').find(({ ServiceAccount }) => ServiceAccount === 'keda-operator').RoleArn['Fn::GetAtt'][0];
    const statements = ofType('AWS::IAM::Policy').filter(({ Roles }) => Roles.some((role: { Ref: string }) => role.Ref === operator))
      .flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
    assert.deepEqual([...new Set(statements.map(({ Action }) => Action))], ['sqs:GetQueueAttributes']);
    const readable = statements.map(({ Resource }) => Resource['Fn::GetAtt'][0]).sort();
    assert.deepEqual(readable, idsOf('AWS::SQS::Queue').filter(id => resources[id]!.Properties.RedrivePolicy).sort());
    assert.deepEqual(resources[operator]!.Properties.ManagedPolicyArns, undefined);
  });

  test('exposes the two APIs by internal load balancers, and nothing else', () => {
    const exposed = ofKind('Service').map(({ metadata, spec }) => [metadata.name, spec.type, spec.ports[0].port]);
    assert.deepEqual(exposed, [['api-write-service', 'LoadBalancer', 3000], ['api-read-service', 'LoadBalancer', 3001]]);
    assert.ok(JSON.stringify(ofKind('Service')).includes('"service.beta.kubernetes.io/aws-load-balancer-scheme":"internal"'));
  });

  test('opens probes and metrics of the APIs to nobody, and every other port to those who need it', () => {
    const policies = new Map(ofKind('NetworkPolicy').map(({ metadata, spec }) => [metadata.name, spec]));
    const opened = ['api-write-service', 'api-read-service', 'outbox-relay'].map((name) => policies.get(name).ingress);
    assert.deepEqual(opened, [[{ ports: [{ protocol: 'TCP', port: 3000 }] }], [{ ports: [{ protocol: 'TCP', port: 3001 }] }], undefined]);
    const isolated = ofType('AWS::EC2::Subnet').filter(({ Tags }) => JSON.stringify(Tags).includes('"Isolated"'));
    const blocks = isolated.map(({ CidrBlock }) => CidrBlock);
    assert.equal(blocks.length, 2);
    for (const name of [...PROGRAMS, 'migration']) {
      const rules = policies.get(name).egress.filter(({ ports }: any) => ports.some(({ port }: any) => port === 5433));
      assert.deepEqual(rules.map(({ to }: any) => to?.map(({ ipBlock }: any) => ipBlock.cidr)), [blocks], name);
    }
  });

  test('tells the APIs, and nobody else, who may call them; a load balancer lets them see the address of a client', () => {
    for (const { metadata: { name }, spec } of ofKind('Deployment')) {
      const variables: { name: string; value: string }[] = spec.template.spec.containers[0].env;
      const aboutCallers = variables.filter((one) => /^(API_|MANAGEMENT_PORT)/.test(one.name));
      const told = Object.fromEntries(aboutCallers.map((one) => [one.name, one.value]));
      assert.deepEqual(told, !name.startsWith('api-') ? {} : {
        API_AUTHORIZATION: 'jwt',
        API_JWT_ISSUER: 'https://login.example.com/',
        API_JWT_AUDIENCE: 'orders',
        API_CUSTOMER_CLAIM: 'sub',
        MANAGEMENT_PORT: '8080',
      }, name);
    }
    for (const { metadata } of ofKind('Service')) {
      assert.equal((metadata as any).annotations['service.beta.kubernetes.io/aws-load-balancer-target-group-attributes'], 'preserve_client_ip.enabled=true');
    }
  });

  test('makes what the services need of the cluster, before any of them', () => {
    const [namespace, keda, ...others] = ofKind('Namespace').sort((one, other) => (one.metadata.name === 'orders' ? -1 : other.metadata.name === 'orders' ? 1 : 0));
    assert.deepEqual([namespace?.metadata.name, keda?.metadata.name, others], ['orders', 'keda', []]);
    // One label more is how the CDK finds objects that are no longer there.
    const labels = Object.entries(namespace?.metadata.labels ?? {}).filter(([label]) => !label.startsWith('aws.cdk.eks/'));
    assert.deepEqual(Object.fromEntries(labels), {
      'pod-security.kubernetes.io/enforce': 'restricted',
      'elbv2.k8s.aws/pod-readiness-gate-inject': 'enabled',
      'eks.amazonaws.com/pod-readiness-gate-inject': 'enabled',
    });
    const [settings] = ofKind('ConfigMap') as unknown as { data: { [key: string]: string } }[];
    assert.equal(settings?.data['enable-network-policy-controller'], 'true');
    assert.deepEqual(ofType('AWS::EKS::Addon').map(({ AddonName }) => AddonName), ['metrics-server', 'amazon-cloudwatch-observability']);
    assert.deepEqual(ofType('Custom::AWSCDK-EKS-HelmChart').map(({ Chart, Namespace }) => [Chart, Namespace]), [['keda', 'keda']]);

    const objects = idsOf('Custom::AWSCDK-EKS-KubernetesResource').filter(id => id.startsWith('PrerequisitesN'));
    const first = [...idsOf('AWS::EKS::Addon'), ...idsOf('Custom::AWSCDK-EKS-HelmChart')].filter(id => id.startsWith('Prerequisites')).concat(objects);
    assert.equal(first.length, 5);
    for (const id of services) assert.deepEqual(first.filter(other => !resources[id]!.DependsOn!.includes(other)), [], id);
  });

  test('migrates when the database is there, and starts the services when the migration is applied', () => {
    const [migration, ...others] = services.filter(id => render(resources[id]!.Properties.Manifest).includes('"kind":"Job"'));
    assert.deepEqual(others, []);
    for (const id of idsOf('AWS::RDS::DBInstance')) assert.ok(resources[migration!]!.DependsOn!.includes(id), id);
    const programs = services.filter(id => /"kind":"(Job|Deployment)"/.test(render(resources[id]!.Properties.Manifest)) && !id.includes('Autoscaling'));
    assert.equal(programs.length, PROGRAMS.length + 1);
    for (const id of programs) assert.equal(resources[id]!.DependsOn!.includes(migration!), id !== migration, id);
  });

  test('lets orders and events gather for as long as the measurements say', () => {
    const variables = ofKind('Deployment').flatMap(({ spec }) => spec.template.spec.containers[0].env as { name: string; value: string }[]);
    const gathering = variables.filter(({ name }) => /^(INTAKE_GATHER|RELAY_)/.test(name)).map(({ name, value }) => [name, value] as const);
    assert.deepEqual(new Map(gathering), new Map([
      ['INTAKE_GATHER_MS', '33'], ['RELAY_BUNDLE_KB', '60'], ['RELAY_BUNDLE_LINGER_MS', '8'],
      ['RELAY_GATHER_MS', 'OrderCreated=70,OrderConfirmed=250,OrderRejected=250,InventoryUpdated:DEDUCTED=250'],
    ]));
  });

  test('gives every program both endpoints of the database with their ports, and a login of its own that no other can read', () => {
    for (const { metadata: { name }, spec } of ofKind('Deployment')) {
      const variables: { name: string; value: string }[] = spec.template.spec.containers[0].env;
      const environment = Object.fromEntries(variables.map(({ name: key, value }) => [key, value]));
      assert.deepEqual([environment.DB_ENGINE, environment.DB_PORT, environment.DB_READER_PORT], ['postgres', '5433', '5433'], name);
    }
    const secrets = new Map(idsOf('AWS::SecretsManager::Secret').map((id) => [id, resources[id]!.Properties.GenerateSecretString.SecretStringTemplate]));
    const users = [...secrets].flatMap(([id, template]): [string, string][] => (template ? [[id, JSON.parse(template).username]] : []));
    assert.deepEqual(users.map(([, user]) => user).sort(), ['command', 'query', ...PROGRAMS.map((name) => name.replaceAll('-', '_'))].map((name) => `orders_${name}`).sort());
    const readers = (secret: string) => ofType('AWS::IAM::Policy').filter(({ PolicyDocument }) => PolicyDocument.Statement
      .some(({ Action, Resource }: any) => [Action].flat().includes('secretsmanager:GetSecretValue') && JSON.stringify(Resource).includes(`"${secret}"`)))
      .map(({ PolicyName }) => PolicyName.replace(/^Pipeline(Consumers)?|(Workload)?RoleDefaultPolicy.*$/g, '').toLowerCase()).sort();
    for (const [id, user] of users) {
      const program = user.replace('orders_', '').replace('api_write_service', 'commandapi').replace('api_read_service', 'queryapi').replace(/_service$/, '').replaceAll('_', '');
      assert.deepEqual(readers(id), /^(command|query)$/.test(program) ? ['migration'] : [program, 'migration'].sort(), user);
    }
    // The relay signs what the consumers verify; the APIs publish nothing.
    const [signing, ...others] = [...secrets].filter(([, template]) => !template).map(([id]) => id);
    assert.deepEqual(others, []);
    assert.deepEqual(readers(signing!), ['analytics', 'inventory', 'notification', 'orderstatus', 'outboxrelay', 'stock']);
  });

  test('prints the addresses of the two APIs, of the bus and of the database, and the ways in', () => {
    assert.deepEqual(Object.keys(outputs).map(name => name.replace(/[0-9A-F]{8}$/, '')).sort(), [
      'AlarmTopicArn', 'ClusterSecurityGroupId', 'DatabaseReaderEndpoint', 'DatabaseWriterEndpoint', 'EventBusName', 'Kubeconfig',
      'PipelineCommandApiUrl', 'PipelineQueryApiUrl',
    ]);
    assert.match(JSON.stringify(outputs.Kubeconfig!.Value), /aws eks update-kubeconfig --region .* --name .* --role-arn /);
    const asked = (name: string) => {
      const [, [scheme, value, port]] = (Object.entries(outputs).find(([id]) => id.startsWith(name))![1].Value as { 'Fn::Join': [string, any[]] })['Fn::Join'];
      const { ObjectType, ObjectName, ObjectNamespace, JsonPath } = resources[value['Fn::GetAtt'][0]]!.Properties;
      return [scheme, ObjectType, ObjectName, ObjectNamespace, JsonPath, port];
    };
    const host = '.status.loadBalancer.ingress[0].hostname';
    assert.deepEqual(asked('PipelineCommandApiUrl'), ['http://', 'service', 'api-write-service', 'orders', host, ':3000']);
    assert.deepEqual(asked('PipelineQueryApiUrl'), ['http://', 'service', 'api-read-service', 'orders', host, ':3001']);
  });

  test('asks the bus for the detail types that the services publish', () => {
    assert.deepEqual(ofType('AWS::Events::Rule').map(({ EventPattern }) => EventPattern['detail-type']), Object.values(defaultSettings.consumers).map(detailTypesOf));
    assert.deepEqual([...new Set(ofType('AWS::Events::Rule').map(({ EventPattern }) => EventPattern.source.join()))], ['com.example.orders']);
  });

  test('chooses a bundle of events exactly where it chooses the events', () => {
    const samples = globSync(join(APP, 'contracts', '*.*', '*.json')).flatMap((file): EventEnvelope[] => JSON.parse(readFileSync(file, 'utf8')).examples);
    for (const { EventPattern } of ofType('AWS::Events::Rule')) {
      const pattern = compilePattern({ 'detail-type': EventPattern['detail-type'], ...EventPattern.detail && { detail: EventPattern.detail } });
      const chooses = (event: EventEnvelope, detail: object) => matchesPattern(pattern, { 'detail-type': detailTypeOf(event), detail } as never);
      for (const event of samples) {
        const text = JSON.stringify(event);
        const bundle = JSON.parse(bundleOf(bundleHead(text)!, [text])) as object;
        assert.equal(chooses(event, bundle), chooses(event, event), `${JSON.stringify(EventPattern)}: a bundle does not repeat what this chooses by; see ROUTING_ATTRIBUTES`);
      }
      assert.ok(samples.some(event => chooses(event, event)), JSON.stringify(EventPattern));
    }
  });

  test('gives every consumer its own queue with dead letters', () => {
    assert.equal(ofType('AWS::Events::Rule').length, consumers.length);
    assert.deepEqual(queues.map(queue => queue.RedrivePolicy.maxReceiveCount), Object.keys(defaultSettings.consumers).map(() => 5));
  });

  test('has three alarms for every consumer, one for the replicas of every program, and eight for the relay', () => {
    const byMetric = Object.groupBy(alarms, ({ MetricName }) => MetricName ?? 'an expression');
    assert.deepEqual(Object.fromEntries(Object.entries(byMetric).map(([metric, own]) => [metric, own!.length])), {
      ApproximateAgeOfOldestMessage: consumers.length,
      ApproximateNumberOfMessagesVisible: consumers.length,
      FailedInvocations: consumers.length,
      // Of the database.
      ...Object.fromEntries(['AuroraReplicaLagMaximum', 'ACUUtilization', 'DatabaseConnections', 'Deadlocks', 'MaximumUsedTransactionIDs'].map(metric => [metric, 1])),
      status_replicas_unavailable: ofKind('Deployment').length,
      ...Object.fromEntries([
        'RelayLeader', 'RelayHalted', 'OutboxOldestEventAge', 'OutboxHeldBack', 'OutboxDeadEvents', 'OldestSnapshotAge', 'ParkedOldestEventAge', 'OverdueOrders',
      ].map(metric => [metric, 1])),
    });
    assert.deepEqual(
      byMetric.status_replicas_unavailable!.map(({ Dimensions }) => Dimensions.find(({ Name }: { Name: string }) => Name === 'PodName').Value).sort(),
      ofKind('Deployment').map(({ metadata }) => metadata.name).sort(),
    );
  });

  test('sends every alarm, and its end, to an encrypted topic that CloudWatch may use and nobody reads without TLS', () => {
    const [topicId, ...otherTopics] = idsOf('AWS::SNS::Topic');
    assert.deepEqual(otherTopics, []);
    for (const { AlarmActions, OKActions } of alarms) assert.deepEqual([AlarmActions, OKActions], [[{ Ref: topicId }], [{ Ref: topicId }]]);
    const { KmsMasterKeyId } = resources[topicId!]!.Properties;
    const key = resources[KmsMasterKeyId['Fn::GetAtt'][0]]!.Properties.KeyPolicy.Statement;
    const [policy] = ofType('AWS::SNS::TopicPolicy');
    const allowed = [...key, ...policy.PolicyDocument.Statement]
      .filter(({ Principal }: any) => Principal.Service)
      .map(({ Effect, Action, Condition, Principal }: any) => [Effect, [Action].flat(), Condition, [Principal.Service].flat().sort()]);
    const sameAccount = { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } };
    const publishers = ['cloudwatch.amazonaws.com', 'events.rds.amazonaws.com'];
    assert.deepEqual(allowed, [
      ['Allow', ['kms:Decrypt', 'kms:GenerateDataKey*'], sameAccount, publishers], ['Allow', ['sns:Publish'], sameAccount, publishers],
    ]);
    // A failover of the database is an event, and has no metric.
    assert.deepEqual(ofType('AWS::RDS::EventSubscription').map(({ SnsTopicArn, SourceType }) => [SnsTopicArn, SourceType]), [
      [{ Ref: topicId }, 'db-cluster'], [{ Ref: topicId }, 'db-instance'],
    ]);
    assert.ok(policy.PolicyDocument.Statement.some(({ Effect, Condition }: any) => Effect === 'Deny' && Condition?.Bool?.['aws:SecureTransport'] === 'false'));
  });

  test('sends logs and metrics of the cluster to log groups that expire, before anything else can make them', () => {
    const groups = idsOf('AWS::Logs::LogGroup').filter(id => id.startsWith('Observability'));
    const named = groups.map(id => JSON.stringify(resources[id]!.Properties.LogGroupName).match(/\/(\w+)"/g)!.at(-1));
    assert.deepEqual(named, ['/application"', '/dataplane"', '/host"', '/performance"']);
    const kept = [...ofType('AWS::Logs::LogGroup'), ...ofType('Custom::LogRetention')].map(({ RetentionInDays }) => RetentionInDays);
    assert.deepEqual(kept, Array(9).fill(30));
    const addOn = idsOf('AWS::EKS::Addon').find(id => id.startsWith('Observability'))!;
    assert.deepEqual(groups.filter(id => !resources[addOn]!.DependsOn!.includes(id)), []);
    const { ConfigurationValues, PodIdentityAssociations } = resources[addOn]!.Properties;
    const values = Object.entries<{ enabled: boolean }>(JSON.parse(ConfigurationValues));
    const features = values.filter(([, { enabled }]) => enabled).map(([name]) => name);
    assert.deepEqual(features, ['containerLogs', 'containerInsights']);
    assert.deepEqual(PodIdentityAssociations.map(({ ServiceAccount }: any) => ServiceAccount), ['cloudwatch-agent']);
  });

  test('lets the agent write to its own log groups, and do nothing else', () => {
    const statements = (role: string) => ofType('AWS::IAM::Policy').filter(({ PolicyName }) => PolicyName.startsWith(`Observability${role}`))
      .flatMap(({ PolicyDocument }) => PolicyDocument.Statement)
      .map(({ Action, Resource }) => [Action, [Resource].flat().map(resource => (resource['Fn::GetAtt']?.[0] ?? resource).replace(/Logs.*/, ''))]);
    const write = ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'];
    assert.deepEqual(statements('AgentRole'), [
      [write, ['Application', 'Dataplane', 'Host', 'Performance'].map(name => `Observability${name}`)],
      [['ec2:DescribeTags', 'ec2:DescribeVolumes'], ['*']],
    ]);
    const roles = ofType('AWS::IAM::Role').flatMap(({ AssumeRolePolicyDocument }) => AssumeRolePolicyDocument.Statement)
      .map(({ Condition }) => Condition?.StringEquals).filter(condition => condition?.['aws:RequestTag/kubernetes-namespace'] === 'amazon-cloudwatch');
    assert.deepEqual(roles.map(condition => condition['aws:RequestTag/kubernetes-service-account']), ['cloudwatch-agent']);
  });

  test('lets the relay, and only it, report the metrics of the alarms', () => {
    const reporting = ofType('AWS::IAM::Policy').filter(({ PolicyDocument }) => JSON.stringify(PolicyDocument).includes('cloudwatch:PutMetricData'));
    assert.deepEqual(reporting.map(({ Roles }) => Roles.map(({ Ref }: { Ref: string }) => Ref.replace(/Role.*/, ''))), [['PipelineOutboxRelay']]);
    const relay = ofKind('Deployment').find(({ metadata }) => metadata.name === 'outbox-relay')!;
    const variables: { name: string; value: string }[] = relay.spec.template.spec.containers[0].env;
    const [Pipeline] = new Set(alarms.filter(({ Namespace }) => Namespace === 'OrderPipeline').map(({ Dimensions }) => Dimensions[0].Value));
    assert.ok(['METRICS_NAMESPACE=OrderPipeline', `METRICS_PIPELINE=${Pipeline}`].every(one => variables.some(({ name, value }) => `${name}=${value}` === one)));
    assert.equal(ofType('AWS::CloudWatch::Dashboard').length, 1);
  });

  test('reaches S3 by a gateway, SQS and EventBridge by endpoints that only the cluster can use', () => {
    const endpoints = ofType('AWS::EC2::VPCEndpoint');
    const serviceOf = (name: unknown) => JSON.stringify(name).match(/\.(\w+)"/)![1];
    const reached = endpoints.map(({ VpcEndpointType, ServiceName }) => [VpcEndpointType, serviceOf(ServiceName)]);
    assert.deepEqual(reached.sort(), [['Gateway', 's3'], ['Interface', 'events'], ['Interface', 'sqs']]);
    for (const { SecurityGroupIds: [group] } of endpoints.filter(({ VpcEndpointType }) => VpcEndpointType === 'Interface')) {
      const id = group['Fn::GetAtt'][0];
      assert.deepEqual(resources[id]!.Properties.SecurityGroupIngress ?? [], []);
      const rules = ofType('AWS::EC2::SecurityGroupIngress').filter(({ GroupId }) => GroupId['Fn::GetAtt'][0] === id);
      assert.deepEqual(rules.map(({ FromPort, ToPort, SourceSecurityGroupId }) => [FromPort, ToPort, SourceSecurityGroupId['Fn::GetAtt'][1]]), [
        [443, 443, 'ClusterSecurityGroupId'],
      ]);
    }
    assert.equal(ofType('AWS::EC2::NatGateway').length, 2);
  });
});

test('one switch leaves logs and metrics in the cluster, one lets signatures begin, and other settings shrink the network', () => {
  const { ofType, ofKind, directory } = synthesize({
    ...defaultSettings,
    observability: false,
    verifyEvents: false,
    natGateways: 1,
    interfaceEndpoints: [],
    publicAccessCidrs: ['203.0.113.0/24'],
    logRetentionDays: 7,
  }, true);
  const withKey = ofKind('Deployment').filter(({ spec }) => JSON.stringify(spec).includes('EVENT_SIGNING_SECRET_ARN'));
  assert.deepEqual(withKey.map(({ metadata }) => metadata.name), ['outbox-relay']);
  // The checks of the library say so. They would refuse an address for everyone, too.
  const { pluginReports } = JSON.parse(readFileSync(join(directory, 'validation-report.json'), 'utf8'));
  const checks = pluginReports.find(({ pluginName }: { pluginName: string }) => pluginName === 'EksClusterChecks');
  assert.deepEqual(checks.violations.map(({ ruleName }: { ruleName: string }) => ruleName), ['ContainerLogs']);
  assert.deepEqual(ofType('AWS::EKS::Addon').map(({ AddonName }) => AddonName), ['metrics-server']);
  assert.deepEqual(ofType('Custom::AWSCDK-EKS-HelmChart').map(({ Chart }) => Chart), ['keda']);
  // The relay reports without an agent.
  const namespaces = new Set(ofType('AWS::CloudWatch::Alarm').map(({ Namespace }) => Namespace ?? 'an expression'));
  assert.deepEqual([...namespaces].sort(), ['AWS/Events', 'AWS/RDS', 'AWS/SQS', 'OrderPipeline']);
  assert.doesNotMatch(JSON.stringify(ofKind('NetworkPolicy')), /amazon-cloudwatch/);
  assert.deepEqual([ofType('AWS::EC2::NatGateway').length, ofType('AWS::EC2::VPCEndpoint').length], [1, 1]);
  const [{ ResourcesVpcConfig: access }] = ofType('AWS::EKS::Cluster');
  assert.deepEqual([access.EndpointPublicAccess, access.PublicAccessCidrs, access.EndpointPrivateAccess], [true, ['203.0.113.0/24'], true]);
  const kept = [...ofType('AWS::Logs::LogGroup'), ...ofType('Custom::LogRetention')].map(({ RetentionInDays }) => RetentionInDays);
  assert.deepEqual(kept, Array(5).fill(7));
});

test('gives an operator the namespace and nothing else of the cluster, and nobody if none is named', () => {
  const entries = (settings: Settings) => synthesize(settings).ofType('AWS::EKS::AccessEntry').filter(({ AccessPolicies }) => AccessPolicies[0].AccessScope.Type === 'namespace');
  assert.deepEqual(entries(defaultSettings), []);
  const operatorRoleArn = 'arn:aws:iam::111111111111:role/on-call';
  const [entry, ...others] = entries({ ...defaultSettings, namespace: 'shop', operatorRoleArn });
  assert.deepEqual(others, []);
  assert.equal(entry.PrincipalArn, operatorRoleArn);
  assert.deepEqual(entry.AccessPolicies.map(({ AccessScope }: { AccessScope: object }) => AccessScope), [{ Type: 'namespace', Namespaces: ['shop'] }]);
  assert.match(JSON.stringify(entry.AccessPolicies[0].PolicyArn), /cluster-access-policy\/AmazonEKSAdminPolicy/);
});

/** As for an account: tokens of a real issuer, and TLS. */
const deployed: Settings = {
  ...defaultSettings,
  issuer: 'https://login.shop.example/',
  certificateArn: 'arn:aws:acm:eu-west-1:111111111111:certificate/12345678',
  limits: { subjectRequestsPerSecond: 20, maxConnections: 0 },
};

test('a certificate makes the addresses https, and limits reach both APIs', () => {
  const { outputs, ofKind } = synthesize(deployed);
  assert.deepEqual(ofKind('Service').map(({ spec }) => [spec.ports[0].port, spec.ports[0].targetPort]), [[443, 'http'], [443, 'http']]);
  for (const [name, { Value }] of Object.entries(outputs).filter(([id]) => /ApiUrl/.test(id))) {
    const [, parts] = (Value as { 'Fn::Join': [string, any[]] })['Fn::Join'];
    assert.deepEqual(parts.map((part) => (typeof part === 'string' ? part : '?')), ['https://', '?'], name);
  }
  for (const { spec } of ofKind('Deployment').filter(({ metadata }) => metadata.name.startsWith('api-'))) {
    const { env }: { env: { name: string; value: string }[] } = spec.template.spec.containers[0];
    const variables = new Map(env.map(({ name, value }) => [name, value]));
    assert.deepEqual([variables.get('API_SUBJECT_REQUESTS_PER_SECOND'), variables.get('API_MAX_CONNECTIONS')], ['20', '0']);
    assert.ok(!variables.has('API_ADDRESS_REQUESTS_PER_SECOND'));
  }
});

test('the example issuer is a warning, since nobody can get a token of it', () => {
  const warnings = (settings: Settings) => synthesize(settings).stack.node.metadata.filter(({ type }) => type === 'aws:cdk:warning').map(({ data }) => String(data));
  assert.match(warnings(defaultSettings).join(), /reference-app:exampleIssuer/);
  assert.deepEqual(warnings(deployed), []);
});

test('the topic that the settings name gets the alarms', () => {
  const alarmTopicArn = 'arn:aws:sns:eu-west-1:111111111111:on-call';
  const alarms = synthesize({ ...defaultSettings, alarmTopicArn }).ofType('AWS::CloudWatch::Alarm');
  assert.ok(alarms.length > 0);
  for (const { AlarmActions, OKActions } of alarms) { assert.deepEqual([AlarmActions, OKActions], [[alarmTopicArn], [alarmTopicArn]]); }
});

test('the settings decide about events, retries, replicas, readers and capacity', () => {
  const { ofType, ofKind } = synthesize({
    ...defaultSettings,
    database: { name: 'shop', readers: 2, minCapacity: 1, maxCapacity: 4 },
    commandApi: { minReplicas: 6, maxReplicas: 7 },
    consumers: {
      'stock-service': {
        events: ['order.updated'],
        maxReceiveCount: 3,
        processingSeconds: 7,
        replicas: {
          minReplicas: 4,
          maxReplicas: 5,
          acceptableLatencySeconds: 120,
          millisecondsPerMessage: 600,
          fallbackReplicas: 1,
          scaleDownPercentPerMinute: 10,
          targetCpuPercent: 60,
        },
      },
    },
  });
  assert.deepEqual(ofType('AWS::Events::Rule').map(rule => rule.EventPattern['detail-type']), [['OrderUpdated']]);
  assert.deepEqual(ofType('AWS::SQS::Queue').flatMap(queue => queue.RedrivePolicy?.maxReceiveCount ?? []), [3]);
  assert.deepEqual(ofType('AWS::SQS::Queue').flatMap(queue => queue.VisibilityTimeout ?? []), [42]);
  const [{ spec }, ...others] = ofKind('ScaledObject') as [Manifest];
  assert.deepEqual(others, []);
  assert.deepEqual([spec.minReplicaCount, spec.maxReplicaCount, spec.fallback.replicas, spec.pollingInterval], [4, 5, 1, 30]);
  assert.equal(spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.policies[0].value, 10);
  assert.deepEqual(spec.triggers.map(({ metadata }: { metadata: { queueLength?: string; value?: string } }) => metadata.queueLength ?? metadata.value), ['200', '60']);
  const api = ofKind('HorizontalPodAutoscaler').find(m => m.metadata.name === 'api-write-service');
  assert.deepEqual([api?.spec.minReplicas, api?.spec.maxReplicas], [6, 7]);
  assert.equal(ofType('AWS::RDS::DBInstance').length, 3);
  const [cluster] = ofType('AWS::RDS::DBCluster');
  assert.deepEqual([cluster.DatabaseName, cluster.ServerlessV2ScalingConfiguration], ['shop', { MinCapacity: 1, MaxCapacity: 4 }]);
});

test('the checks find nothing, and what was accepted stands in the report with its reason', () => {
  const { directory, stack } = synthesize(deployed, true);
  const report = JSON.parse(readFileSync(join(directory, 'validation-report.json'), 'utf8'));
  const reports: {
    pluginName: string;
    violations: unknown[];
    suppressedViolations?: { ruleName: string; reason: string }[];
  }[] = report.pluginReports;
  assert.deepEqual(reports.map(({ pluginName, violations }) => [pluginName, violations]), [['AwsSolutions', []], ['CloudFormation Validate', []]]);

  const accepted = reports.flatMap(({ suppressedViolations }) => suppressedViolations ?? []);
  assert.deepEqual(accepted.filter(({ reason }) => !reason), []);
  const perRule = Object.groupBy(accepted, ({ ruleName }) => ruleName.replace(/\[.*/, ''));
  assert.deepEqual(Object.keys(perRule).sort(), ['AwsSolutions-IAM4', 'AwsSolutions-IAM5', 'AwsSolutions-L1', 'AwsSolutions-SMG4', 'W9009']);

  // Nothing is accepted that isn't found any more.
  const findings = new Set(accepted.map(({ ruleName }) => ruleName));
  const rules = stack.node.findAll().flatMap(construct => construct.node.metadata)
    .filter(({ type }) => type === 'aws:cdk:acknowledged-rules').flatMap(({ data }): string[] => Object.keys(data)).filter(rule => rule.startsWith('AwsSolutions::'));
  assert.ok(rules.length > 10);
  assert.deepEqual(rules.filter(rule => !findings.has(rule.replace('AwsSolutions::', ''))), []);
});
