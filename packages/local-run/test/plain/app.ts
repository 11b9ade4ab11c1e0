import { fileURLToPath } from 'node:url';
import * as cdk from 'aws-cdk-lib';
import * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as apigatewayv2 from 'aws-cdk-lib/aws-apigatewayv2';
import * as batch from 'aws-cdk-lib/aws-batch';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import * as origins from 'aws-cdk-lib/aws-cloudfront-origins';
import * as cognito from 'aws-cdk-lib/aws-cognito';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as patterns from 'aws-cdk-lib/aws-ecs-patterns';
import * as efs from 'aws-cdk-lib/aws-efs';
import * as elasticache from 'aws-cdk-lib/aws-elasticache';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as kinesis from 'aws-cdk-lib/aws-kinesis';
import * as firehose from 'aws-cdk-lib/aws-kinesisfirehose';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sources from 'aws-cdk-lib/aws-lambda-event-sources';
import * as msk from 'aws-cdk-lib/aws-msk';
import * as opensearch from 'aws-cdk-lib/aws-opensearchservice';
import * as pipes from 'aws-cdk-lib/aws-pipes';
import * as rds from 'aws-cdk-lib/aws-rds';
import * as route53 from 'aws-cdk-lib/aws-route53';
import * as s3 from 'aws-cdk-lib/aws-s3';
import * as notifications from 'aws-cdk-lib/aws-s3-notifications';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import * as stepfunctions from 'aws-cdk-lib/aws-stepfunctions';
import * as customResources from 'aws-cdk-lib/custom-resources';

export interface PlainOptions {
  readonly outdir: string;
  /** The file that the function writes events to. */
  readonly seen?: string;
  /** Twenty services that the local run does not make. */
  readonly withTwentyOthers?: boolean;
}

/** A stack of aws-cdk-lib alone, as its documentation shows it: a bus, a rule, a queue, a function. */
export function synthesizePlain({ outdir, seen = '/dev/null', withTwentyOthers = false }: PlainOptions): string {
  const app = new cdk.App({ outdir, analyticsReporting: false, context: { 'aws:cdk:enable-path-metadata': true, '@aws-cdk/core:validateOnSynth': false } });
  const stack = new cdk.Stack(app, 'Plain');
  const bus = new events.EventBus(stack, 'Bus', { eventBusName: 'plain' });
  const queue = new sqs.Queue(stack, 'Queue');
  const rule = new events.Rule(stack, 'Rule', { eventBus: bus, eventPattern: { source: ['plain'] }, targets: [new targets.SqsQueue(queue)] });
  const fn = new lambda.Function(stack, 'Function', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    environment: { SEEN: seen },
    code: lambda.Code.fromAsset(fileURLToPath(new URL('function', import.meta.url))),
  });
  fn.addEventSource(new sources.SqsEventSource(queue));
  if (withTwentyOthers) addTwentyOthers(stack, rule, fn);
  app.synth();
  return outdir;
}

function addTwentyOthers(stack: cdk.Stack, rule: events.Rule, fn: lambda.Function): void {
  const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 0, maxAzs: 2, subnetConfiguration: [{ name: 'isolated', subnetType: ec2.SubnetType.PRIVATE_ISOLATED }] });
  const table = new dynamodb.Table(stack, 'Table', { partitionKey: { name: 'id', type: dynamodb.AttributeType.STRING }, stream: dynamodb.StreamViewType.NEW_IMAGE });
  const bucket = new s3.Bucket(stack, 'Bucket', { enforceSSL: true });
  const stream = new kinesis.Stream(stack, 'Stream');
  bucket.addEventNotification(s3.EventType.OBJECT_CREATED, new notifications.LambdaDestination(fn));
  fn.addEventSource(new sources.KinesisEventSource(stream, { startingPosition: lambda.StartingPosition.LATEST }));
  fn.addEventSource(new sources.DynamoEventSource(table, { startingPosition: lambda.StartingPosition.LATEST }));
  new firehose.DeliveryStream(stack, 'Firehose', { destination: new firehose.S3Bucket(bucket) });
  const machine = new stepfunctions.StateMachine(stack, 'Machine', { definitionBody: stepfunctions.DefinitionBody.fromChainable(new stepfunctions.Pass(stack, 'Pass')) });
  rule.addTarget(new targets.SfnStateMachine(machine));

  const api = new apigateway.RestApi(stack, 'Api');
  api.root.addResource('orders').addMethod('GET', new apigateway.LambdaIntegration(fn));
  new apigatewayv2.HttpApi(stack, 'HttpApi');
  fn.addFunctionUrl();
  const pool = new cognito.UserPool(stack, 'Users');
  pool.addClient('Client');
  new cloudfront.Distribution(stack, 'Distribution', { defaultBehavior: { origin: origins.S3BucketOrigin.withOriginAccessControl(bucket) } });
  new route53.PrivateHostedZone(stack, 'Zone', { vpc, zoneName: 'plain.example' });

  new elasticache.CfnServerlessCache(stack, 'Cache', { engine: 'valkey', serverlessCacheName: 'cache' });
  new opensearch.Domain(stack, 'Search', { version: opensearch.EngineVersion.OPENSEARCH_2_17 });
  const database = new rds.DatabaseInstance(stack, 'Mysql', {
    engine: rds.DatabaseInstanceEngine.mysql({ version: rds.MysqlEngineVersion.VER_8_4_3 }),
    vpc,
    vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
  });
  database.addProxy('Proxy', { vpc, secrets: [database.secret!], vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED } });
  new efs.FileSystem(stack, 'Files', { vpc, vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED } });
  new msk.CfnServerlessCluster(stack, 'Kafka', { clusterName: 'kafka', clientAuthentication: { sasl: { iam: { enabled: true } } }, vpcConfigs: [{ subnetIds: ['a'] }] });

  new patterns.ApplicationLoadBalancedFargateService(stack, 'Web', {
    vpc,
    publicLoadBalancer: false,
    taskSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
    taskImageOptions: { image: ecs.ContainerImage.fromRegistry('nginx') },
  });
  new batch.CfnJobDefinition(stack, 'Job', { type: 'container' });
  new pipes.CfnPipe(stack, 'Pipe', { roleArn: fn.role!.roleArn, source: table.tableStreamArn!, target: rule.ruleArn });
  const connection = new events.Connection(stack, 'Connection', { authorization: events.Authorization.apiKey('key', cdk.SecretValue.unsafePlainText('x')) });
  rule.addTarget(new targets.ApiDestination(new events.ApiDestination(stack, 'Destination', { connection, endpoint: 'https://partner.example' })));
  new cdk.CustomResource(stack, 'Seed', { serviceToken: fn.functionArn, resourceType: 'Custom::Seed' });
  new customResources.AwsCustomResource(stack, 'Call', {
    onCreate: { service: 'S3', action: 'listBuckets', physicalResourceId: customResources.PhysicalResourceId.of('call') },
    policy: customResources.AwsCustomResourcePolicy.fromSdkCalls({ resources: ['*'] }),
  });
  new cdk.CfnResource(stack, 'Quantum', { type: 'AWS::Braket::QuantumTask' });
  new cdk.CfnResource(stack, 'Nested', { type: 'AWS::CloudFormation::Stack', properties: { TemplateURL: 'https://elsewhere.example/template.json' } });
}
