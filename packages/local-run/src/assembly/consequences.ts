/** The meaning for a run that a resource of some type is not made. */
export interface Consequence {
  readonly types: RegExp;
  /** The types that are named on the screen. The others belong to these, and are counted. @default - all are named */
  readonly main?: RegExp;
  /** The service that programs call, with the name that the SDK has for it in `AWS_ENDPOINT_URL_<SERVICE>`, in lower case. */
  readonly calls?: readonly [title: string, endpoint: string];
  readonly means?: string;
}

const NO_ADDRESS = 'its address is not known, so a workload whose template needs it is not started';

/** The consequences by service of AWS. The first that fits a type counts. */
export const CONSEQUENCES: readonly Consequence[] = [
  // What holds data.
  { types: /^AWS::DynamoDB::/, main: /Table$/, calls: ['DynamoDB', 'dynamodb'] },
  { types: /^(AWS::S3(Express)?::|Custom::S3BucketNotifications$)/, main: /Bucket$/, calls: ['S3', 's3'], means: 'a bucket sends no notifications' },
  {
    types: /^AWS::(RDS|DocDB|Neptune|DSQL|Redshift|RedshiftServerless|Timestream|Cassandra)::/,
    main: /(Cluster|Database|Workgroup|Table)$/,
    means: NO_ADDRESS,
  },
  { types: /^AWS::(ElastiCache|MemoryDB|DAX)::/, main: /(Cluster|Group|Cache)$/, means: NO_ADDRESS },
  { types: /^AWS::(OpenSearchService|OpenSearchServerless|Elasticsearch)::/, main: /(Domain|Collection)$/, means: NO_ADDRESS },
  { types: /^AWS::(EFS|FSx)::/, main: /FileSystem$/, means: 'a function or a container that mounts it does not find its files' },
  // What passes messages on.
  { types: /^AWS::SNS::/, main: /Topic$/, calls: ['SNS', 'sns'] },
  { types: /^AWS::Kinesis::/, main: /Stream$/, calls: ['Kinesis', 'kinesis'], means: 'no function is called by a stream' },
  { types: /^AWS::KinesisFirehose::/, calls: ['Firehose', 'firehose'] },
  { types: /^AWS::MSK::/, main: /Cluster$/, means: `it has no brokers here; ${NO_ADDRESS}` },
  { types: /^AWS::AmazonMQ::/, main: /Broker$/, means: `it has no broker here; ${NO_ADDRESS}` },
  { types: /^AWS::Pipes::/, means: 'nothing moves from its source to its target' },
  { types: /^AWS::Scheduler::/, main: /Schedule$/, calls: ['EventBridge Scheduler', 'scheduler'], means: 'a schedule does not fire' },
  { types: /^AWS::Events::(ApiDestination|Connection)$/, main: /ApiDestination$/, means: 'no event is sent to it' },
  { types: /^AWS::Events::/, means: 'events pass through the buses of this run only' },
  { types: /^AWS::IoT::/, means: 'no message of a device comes in' },
  { types: /^AWS::SES::/, calls: ['SES', 'sesv2'], means: 'no mail is sent' },
  // What runs programs.
  { types: /^AWS::StepFunctions::/, main: /StateMachine$/, calls: ['Step Functions', 'sfn'], means: 'no execution starts' },
  { types: /^AWS::ECS::/, main: /(Service|TaskDefinition)$/, means: 'its containers do not run; the local run starts those of Kubernetes only' },
  { types: /^AWS::Batch::/, main: /JobDefinition$/, calls: ['Batch', 'batch'], means: 'its jobs do not run' },
  { types: /^AWS::(AppRunner|ElasticBeanstalk|Lightsail)::/, means: `its program does not run; ${NO_ADDRESS}` },
  { types: /^AWS::EC2::Instance$/, means: 'its programs do not run' },
  { types: /^AWS::AutoScaling::/, main: /Group$/, means: 'the programs of its machines do not run; Kubernetes workloads do not need them here' },
  { types: /^AWS::Lambda::Url$/, means: 'its function has no address' },
  { types: /^AWS::Lambda::EventInvokeConfig$/, means: 'asynchronous calls of its function have no destinations' },
  { types: /^AWS::(Glue|EMR|EMRServerless|SageMaker|KinesisAnalyticsV2|Athena)::/, means: 'its programs and queries do not run' },
  { types: /^AWS::Bedrock/, calls: ['Bedrock', 'bedrock_runtime'] },
  // What requests come through.
  { types: /^AWS::ApiGateway(V2)?::/, main: /::(RestApi|Api)$/, means: 'without an address here, it passes no request on to functions, queues or services' },
  { types: /^AWS::AppSync::/, main: /GraphQLApi$|::Api$/, means: 'without an address here, it takes no request' },
  { types: /^AWS::ElasticLoadBalancing(V2)?::/, main: /LoadBalancer$/, means: `it passes no request on; ${NO_ADDRESS}` },
  { types: /^AWS::CloudFront::/, main: /Distribution$/, means: 'nothing is served through it; ask its origin' },
  { types: /^AWS::GlobalAccelerator::/, means: 'it passes no request on' },
  { types: /^AWS::(Route53|ServiceDiscovery)::/, main: /(Zone|Namespace)$/, means: 'its names do not resolve here, so a program that uses one fails there' },
  { types: /^AWS::Cognito::/, main: /Pool$/, calls: ['Cognito', 'cognito_identity_provider'], means: 'nobody signs in' },
  { types: /^AWS::AppConfig::/, main: /Application$/, calls: ['AppConfig', 'appconfigdata'] },
  // What belongs to the deployment, but may be missed.
  { types: /^Custom::AWS$/, means: 'its calls of AWS are not made, and what needs their answers is left out and named' },
  { types: /^(Custom::|AWS::CloudFormation::CustomResource$)/, means: 'its function is not called, and what needs one of its attributes is left out and named' },
  { types: /^AWS::Logs::SubscriptionFilter$/, means: 'no log lines are sent to its target' },
  { types: /^AWS::SSM::/, calls: ['Systems Manager', 'ssm'] },
  { types: /^AWS::Serverless::/, means: 'the template has to be transformed by AWS; use the constructs of aws-cdk-lib instead' },
];

/** The consequence of every other type. */
export const UNKNOWN: Consequence = { types: /./, means: 'nothing of it runs here, calls to it are refused, and what needs its addresses or ids is left out and named' };

/** Properties of resources that are made which change their behavior in AWS and not here, by type. */
export const IGNORED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'AWS::Events::EventBus': { EventSourceName: 'events of a partner do not come' },
  'AWS::RDS::DBCluster': {
    SnapshotIdentifier: 'the database starts empty, and not with the data of the snapshot',
    SourceDBClusterIdentifier: 'the database starts empty, and not with the data of the other cluster',
    EnableHttpEndpoint: 'calls to the RDS Data API are refused',
    AssociatedRoles: 'the database does not call other services',
  },
  'AWS::RDS::DBInstance': {
    DBSnapshotIdentifier: 'the database starts empty, and not with the data of the snapshot',
    SourceDBInstanceIdentifier: 'the database starts empty, and not with the data of the other instance',
    AssociatedRoles: 'the database does not call other services',
  },
  'AWS::Lambda::EventSourceMapping': { ProvisionedPollerConfig: 'one poller reads for each process of the function' },
};
