import { App, Duration, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as rds from 'aws-cdk-lib/aws-rds';
import * as sns from 'aws-cdk-lib/aws-sns';
import {
  CqrsAuroraCluster, CqrsAuroraClusterProps, CqrsDatabaseAlarmsOptions, CqrsEngine, CqrsInstances, ProvisionedInstancesOptions,
} from '../../src/cqrs';
import { unacknowledgedFindings } from '../nag';

let stack: Stack;
let vpc: ec2.IVpc;
beforeEach(() => {
  stack = new Stack(new App(), 'Test', { env: { account: '111122223333', region: 'eu-west-1' } });
  vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'] });
});

function databaseOf(props: Partial<CqrsAuroraClusterProps> = {}, id = 'Database'): CqrsAuroraCluster {
  return new CqrsAuroraCluster(stack, id, { vpc, ...props });
}

const provisioned = (type = 'r8g.large', options: Partial<ProvisionedInstancesOptions> = {}) =>
  CqrsInstances.provisioned({ instanceType: new ec2.InstanceType(type), ...options });
const clusterOf = () => Object.values(Template.fromStack(stack).findResources('AWS::RDS::DBCluster'))[0]!.Properties;
const instancesOf = () => Object.values(Template.fromStack(stack).findResources('AWS::RDS::DBInstance')).map(({ Properties }) => Properties);

describe('parameters', () => {
  const parametersOf = () => Object.values(Template.fromStack(stack).findResources('AWS::RDS::DBClusterParameterGroup'))[0]!.Properties.Parameters;
  const defaults = { 'rds.force_ssl': '1', 'jit': '0', 'log_lock_waits': '1', 'idle_in_transaction_session_timeout': '60000' };

  test('end transactions that are forgotten', () => {
    databaseOf();
    expect(parametersOf()).toEqual({ ...defaults, transaction_timeout: '300000' });
  });

  test('are those that the version has', () => {
    databaseOf({ engine: CqrsEngine.postgres(rds.AuroraPostgresEngineVersion.of('16.8', '16')) });
    expect(parametersOf()).toEqual(defaults);
  });

  test('can be added and changed', () => {
    databaseOf({ parameters: { transaction_timeout: '0', work_mem: '65536' } });
    expect(parametersOf()).toEqual({ ...defaults, transaction_timeout: '0', work_mem: '65536' });
  });

  test('never switch off TLS', () => {
    for (const value of ['0', 'off', '']) {
      expect(() => databaseOf({ parameters: { 'rds.force_ssl': value } }, `With '${value}'`))
        .toThrow('parameters can\'t change rds.force_ssl, which is 1: leave it out');
    }
    databaseOf({ parameters: { 'rds.force_ssl': '1' } });
    expect(parametersOf()).toMatchObject({ 'rds.force_ssl': '1' });
  });
});

describe('a snapshot', () => {
  test('is the origin of the data, and keeps the administrator', () => {
    databaseOf();
    const empty = Template.fromStack(stack).toJSON().Resources;
    const other = new Stack(new App(), 'Test', { env: stack.env as { account: string; region: string } });
    stack = other;
    vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['a', 'b'], isolatedSubnetIds: ['i-1', 'i-2'] });
    databaseOf({ snapshotIdentifier: 'orders-before-the-accident' });
    const restored = Template.fromStack(stack).toJSON().Resources;
    // The logical ids are the same, and nothing else differs.
    const id = 'DatabaseCluster5B53A178';
    const { MasterUsername, ...rest } = empty[id].Properties;
    expect(MasterUsername).toBe('cluster_admin');
    expect(restored).toEqual({
      ...empty, [id]: { ...empty[id], Properties: { ...rest, SnapshotIdentifier: 'orders-before-the-accident' } },
    });
  });

  test('has a name', () => {
    expect(() => databaseOf({ snapshotIdentifier: '' })).toThrow(
      "snapshotIdentifier must be the name or the ARN of a snapshot of a cluster: leave it out for a new database (in 'Test/Database')");
  });
});

describe('the storage', () => {
  test.each([[undefined, undefined], [rds.DBClusterStorageType.AURORA_IOPT1, 'aurora-iopt1']])('%s', (storageType, expected) => {
    databaseOf({ storageType });
    expect(clusterOf().StorageType).toBe(expected);
  });
});

describe('windows', () => {
  test('are of the cluster and all instances', () => {
    databaseOf({ backupWindow: '01:00-02:00', maintenanceWindow: 'sun:03:00-sun:04:00' });
    expect(clusterOf()).toMatchObject({ PreferredBackupWindow: '01:00-02:00', PreferredMaintenanceWindow: 'sun:03:00-sun:04:00' });
    expect(instancesOf().map(({ PreferredMaintenanceWindow }) => PreferredMaintenanceWindow)).toEqual(Array(2).fill('sun:03:00-sun:04:00'));
  });

  test('may be known at deployment only', () => {
    expect(() => databaseOf({ backupWindow: Token.asString({ Ref: 'Backup' }), maintenanceWindow: 'sun:03:00-sun:04:00' })).not.toThrow();
  });

  test.each<[Partial<CqrsAuroraClusterProps>, string]>([
    [{ backupWindow: '1:00-2:00' }, "backupWindow must have the form hh:mm-hh:mm in UTC, got '1:00-2:00'"],
    [{ backupWindow: '25:00-26:00' }, "backupWindow must have the form hh:mm-hh:mm in UTC, got '25:00-26:00'"],
    [{ backupWindow: '01:00-01:29' }, "backupWindow must be 30 minutes to 24 hours long, got '01:00-01:29'"],
    [{ maintenanceWindow: 'sunday:03:00-sunday:04:00' },
      "maintenanceWindow must have the form ddd:hh:mm-ddd:hh:mm in UTC, got 'sunday:03:00-sunday:04:00'"],
    [{ maintenanceWindow: 'son:03:00-son:04:00' }, "maintenanceWindow must have the form ddd:hh:mm-ddd:hh:mm in UTC, got 'son:03:00-son:04:00'"],
    [{ maintenanceWindow: 'sun:03:00-mon:04:00' }, "maintenanceWindow must be 30 minutes to 24 hours long, got 'sun:03:00-mon:04:00'"],
    [{ backupWindow: '03:30-04:30', maintenanceWindow: 'sun:03:00-sun:04:00' },
      'backupWindow (03:30-04:30) and maintenanceWindow (sun:03:00-sun:04:00) must not overlap: move one of them'],
  ])('%j is refused', (props, message) => {
    expect(() => databaseOf(props)).toThrow(`${message} (in 'Test/Database')`);
  });

  test('overlap if a minute of a day is in both', () => {
    const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
    const clock = (minutes: number) => `${String(Math.floor(minutes / 60) % 24).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
    const shown = (minutes: number) => `${DAYS[Math.floor(minutes / 1440) % 7]}:${clock(minutes)}`;
    const minutesOf = (begin: number, length: number) => Array.from({ length }, (_, index) => (begin + index) % 1440);
    const results: { [shared: string]: number } = {};
    // Every 2 hours and 20 minutes of a week, also over midnight and over the end of the week.
    for (let begin = 0; begin < 7 * 1440; begin += 140) {
      const [backup, backupLength, length] = [(begin * 11) % 1440, 30 + begin % 90, 30 + begin % 400];
      const backupWindow = `${clock(backup)}-${clock(backup + backupLength)}`;
      const maintenanceWindow = `${shown(begin)}-${shown(begin + length)}`;
      const backupMinutes = new Set(minutesOf(backup, backupLength));
      const shared = minutesOf(begin, length).some((minute) => backupMinutes.has(minute));
      const use = () => databaseOf({ backupWindow, maintenanceWindow }, `Database${begin}`);
      if (shared) { expect(use).toThrow('must not overlap'); } else { expect(use).not.toThrow(); }
      results[String(shared)] = (results[String(shared)] ?? 0) + 1;
    }
    expect([results.true, results.false]).toEqual([expect.any(Number), expect.any(Number)]);
  });
});

describe('instances', () => {
  test('get minor versions, and seven days of Performance Insights', () => {
    databaseOf();
    for (const properties of instancesOf()) {
      expect(properties).toMatchObject({
        AutoMinorVersionUpgrade: true, EnablePerformanceInsights: true, PerformanceInsightsRetentionPeriod: 7,
      });
      expect(properties).not.toHaveProperty('CACertificateIdentifier');
    }
    expect(clusterOf()).toMatchObject({ DatabaseInsightsMode: 'standard', PerformanceInsightsEnabled: true, PerformanceInsightsRetentionPeriod: 7 });
  });

  test('take a certificate, stay at their version, and keep more with a key', () => {
    const encryptionKey = new kms.Key(stack, 'Key');
    databaseOf({
      caCertificate: rds.CaCertificate.RDS_CA_ECC384_G1,
      autoMinorVersionUpgrade: false,
      databaseInsightsMode: rds.DatabaseInsightsMode.ADVANCED,
      encryptionKey,
    });
    const keyArn = stack.resolve(encryptionKey.keyArn);
    for (const properties of instancesOf()) {
      expect(properties).toMatchObject({
        CACertificateIdentifier: 'rds-ca-ecc384-g1',
        AutoMinorVersionUpgrade: false,
        PerformanceInsightsRetentionPeriod: 465,
        PerformanceInsightsKMSKeyId: keyArn,
      });
    }
    expect(clusterOf()).toMatchObject({ DatabaseInsightsMode: 'advanced', PerformanceInsightsKmsKeyId: keyArn });
  });

  test('are monitored if that is wanted', () => {
    databaseOf({ monitoringInterval: Duration.seconds(30) });
    expect(instancesOf().map(({ MonitoringInterval }) => MonitoringInterval)).toEqual([30, 30]);
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });
});

describe('alarms', () => {
  const alarmed = (props: Partial<CqrsAuroraClusterProps> = {}, options: Partial<CqrsDatabaseAlarmsOptions> = {}) => {
    const topic = sns.Topic.fromTopicArn(stack, 'Topic', 'arn:aws:sns:eu-west-1:111122223333:alarms');
    const action = new SnsAction(topic);
    const alarms = databaseOf(props).addAlarms({ actions: [action], okActions: [action], ...options });
    const templates = Object.entries(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm')).map(([id, { Properties }]) => {
      expect([Properties.AlarmActions, Properties.OKActions]).toEqual([[topic.topicArn], [topic.topicArn]]);
      expect(Properties.AlarmDescription).toMatch(/^.{20,}\. .{20,}\.$/);
      const { MetricName, Statistic, Threshold, EvaluationPeriods, Period, ComparisonOperator } = Properties;
      const over = { GreaterThanThreshold: '>', LessThanThreshold: '<' }[ComparisonOperator as string];
      return `${id.replace(/^DatabaseAlarms(\w+?)[0-9A-F]{8}$/, '$1')}: ${Statistic} ${MetricName} ${over} ${Threshold} for ${EvaluationPeriods}x${Period}s, `
        + `${Properties.TreatMissingData}`;
    });
    return { alarms, found: templates.sort() };
  };
  const always = [
    'Deadlocks: Maximum Deadlocks > 0.1 for 5x60s, notBreaching',
    'ReplicaLag: Maximum AuroraReplicaLagMaximum > 1000 for 5x60s, notBreaching',
    'TransactionIds: Maximum MaximumUsedTransactionIDs > 1000000000 for 3x300s, notBreaching',
  ];

  test('of a serverless cluster', () => {
    expect(alarmed().found).toEqual([
      ...always,
      'Capacity: Average ACUUtilization > 90 for 15x60s, breaching',
      'Connections: Maximum DatabaseConnections > 1600 for 5x60s, notBreaching',
    ].sort());
  });

  test('of instances with a fixed size and a proxy', () => {
    expect(alarmed({ instances: provisioned(), proxy: {} }).found).toEqual([
      ...always,
      'Capacity: Average CPUUtilization > 80 for 15x60s, breaching',
      'Connections: Maximum DatabaseConnections > 1342 for 5x60s, notBreaching',
      'LocalStorage: Minimum FreeLocalStorage < 5368709120 for 5x60s, notBreaching',
      'ProxyBorrowLatency: Average DatabaseConnectionsBorrowLatency > 100000 for 5x60s, notBreaching',
    ].sort());
  });

  test('without readers, and with limits of your own', () => {
    const { alarms, found } = alarmed({ instances: CqrsInstances.serverless({ readers: 0 }) }, { maxConnections: 100 });
    expect([alarms.replicaLag, alarms.localStorage, alarms.proxyBorrowLatency]).toEqual([undefined, undefined, undefined]);
    expect(found).toContain('Connections: Maximum DatabaseConnections > 80 for 5x60s, notBreaching');
  });

  test('of a lag that is acceptable', () => {
    expect(alarmed({}, { acceptableReplicaLag: Duration.millis(200) }).found)
      .toContain('ReplicaLag: Maximum AuroraReplicaLagMaximum > 200 for 5x60s, notBreaching');
  });

  test('without actions are a warning', () => {
    databaseOf().addAlarms({});
    Annotations.fromStack(stack).hasWarning('/Test/Database/Alarms', Match.stringLikeRegexp('^ReplicaLag, Capacity, Connections, Deadlocks, '
      + 'TransactionIds: an alarm without actions is only visible'));
  });

  // https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
  test.each<[string, CqrsInstances, number | undefined]>([
    ['1 ACU', CqrsInstances.serverless({ minCapacity: 1, maxCapacity: 1 }), 189],
    ['4 ACU', CqrsInstances.serverless({ minCapacity: 1, maxCapacity: 4 }), 823],
    ['8 ACU', CqrsInstances.serverless({ minCapacity: 1, maxCapacity: 8 }), 1669],
    ['16 ACU', CqrsInstances.serverless({ minCapacity: 1, maxCapacity: 16 }), 3360],
    ['0.5 to 16 ACU', CqrsInstances.serverless(), 2000],
    ['32 ACU', CqrsInstances.serverless({ minCapacity: 1, maxCapacity: 32 }), 5000],
    ['medium T', provisioned('t4g.medium'), 419],
    ['large R', provisioned('r8g.large'), 1678],
    ['xlarge R', provisioned('r8g.xlarge'), 3357],
    ['2xlarge R', provisioned('r8g.2xlarge'), 5000],
    ['something newer', provisioned('z9.huge'), undefined],
  ])('know the greatest number of connections of %s', (_, instances, connections) => {
    const alarm = databaseOf({ instances }).addAlarms({ actions: [] }).connections;
    const description = (alarm?.node.defaultChild as cloudwatch.CfnAlarm | undefined)?.alarmDescription;
    expect(description?.match(/of its (\d+) connections/)?.[1]).toBe(connections?.toString());
  });

  test.each<[Partial<CqrsDatabaseAlarmsOptions>, string]>([
    [{ maxConnections: 1 }, 'maxConnections must be a whole number between 6 and 262143, got 1'],
    [{ acceptableReplicaLag: Duration.hours(1) }, 'acceptableReplicaLag must be between 10 millis and 10 minutes, got 1 hour'],
  ])('refuse %j', (options, message) => {
    expect(() => databaseOf().addAlarms({ actions: [], ...options })).toThrow(message);
  });
});

test('shows what it uses', () => {
  const db = databaseOf();
  const shown = [db.metricConnections(), db.metricCapacityUtilization(), db.metricCpuUtilization(), db.metricUsedTransactionIds()]
    .map((metric) => metric.toMetricConfig().metricStat);
  expect(shown).toMatchObject([
    { metricName: 'DatabaseConnections', statistic: 'Maximum' },
    { metricName: 'ACUUtilization', statistic: 'Average' },
    { metricName: 'CPUUtilization', statistic: 'Average' },
    { metricName: 'MaximumUsedTransactionIDs', statistic: 'Maximum' },
  ]);
});

describe('events', () => {
  test('are sent to a topic', () => {
    const db = databaseOf();
    const topic = new sns.Topic(stack, 'Topic');
    db.notifyEvents(topic);
    const template = Template.fromStack(stack);
    const SnsTopicArn = stack.resolve(topic.topicArn);
    template.hasResourceProperties('AWS::RDS::EventSubscription', {
      SourceType: 'db-cluster',
      SourceIds: [stack.resolve(db.cluster.clusterIdentifier)],
      SnsTopicArn,
      EventCategories: ['failover', 'failure', 'maintenance', 'notification'],
    });
    template.hasResourceProperties('AWS::RDS::EventSubscription', {
      SourceType: 'db-instance',
      SourceIds: stack.resolve(db.cluster.instanceIdentifiers),
      SnsTopicArn,
      EventCategories: ['availability', 'failover', 'failure', 'low storage', 'maintenance', 'recovery'],
    });
    template.resourceCountIs('AWS::RDS::EventSubscription', 2);
    template.hasResourceProperties('AWS::SNS::TopicPolicy', {
      PolicyDocument: {
        Statement: [{
          Sid: Match.anyValue(),
          Effect: 'Allow',
          Principal: { Service: 'events.rds.amazonaws.com' },
          Action: 'sns:Publish',
          Resource: SnsTopicArn,
          Condition: { StringEquals: { 'aws:SourceAccount': '111122223333' } },
        }],
      },
    });
    // RDS tries to publish when the subscription is made.
    for (const { DependsOn } of Object.values(template.findResources('AWS::RDS::EventSubscription'))) {
      expect(DependsOn).toEqual(expect.arrayContaining(Object.keys(template.findResources('AWS::SNS::TopicPolicy'))));
    }
  });

  test('can be encrypted', () => {
    const masterKey = new kms.Key(stack, 'Key');
    databaseOf().notifyEvents(new sns.Topic(stack, 'Topic', { masterKey }));
    Template.fromStack(stack).hasResourceProperties('AWS::KMS::Key', {
      KeyPolicy: {
        Statement: Match.arrayWith([Match.objectLike({
          Principal: { Service: 'events.rds.amazonaws.com' }, Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
        })]),
      },
    });
  });
});
