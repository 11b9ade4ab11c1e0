import { App, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { CqrsAuroraCluster, CqrsInstances, ProvisionedInstancesOptions, ServerlessInstancesOptions } from '../../src/cqrs';

let stack: Stack;
let vpc: ec2.IVpc;
beforeEach(() => {
  stack = new Stack(new App(), 'Test', { env: { account: '111122223333', region: 'eu-west-1' } });
  vpc = new ec2.Vpc(stack, 'Vpc');
});

function database(plan?: CqrsInstances): CqrsAuroraCluster {
  return new CqrsAuroraCluster(stack, 'Database', { vpc, instances: plan });
}

const serverless = (options?: ServerlessInstancesOptions) => CqrsInstances.serverless(options);
const provisioned = (options: Partial<ProvisionedInstancesOptions> = {}) =>
  CqrsInstances.provisioned({ instanceType: new ec2.InstanceType('r8g.large'), ...options });
const autoscaled = (options: Partial<ProvisionedInstancesOptions> = {}) => provisioned({ readers: 2, maxReaders: 6, ...options });

/** Class and promotion tier of each instance. */
function instances(): unknown[] {
  return Object.values(Template.fromStack(stack).findResources('AWS::RDS::DBInstance')).map(({ Properties }) => {
    expect(Properties.PubliclyAccessible).toBe(false);
    return [Properties.DBInstanceClass, Properties.PromotionTier];
  });
}

test.each<[string, () => CqrsInstances | undefined, unknown[]]>([
  ['serverless with one reader by default', () => undefined, [['db.serverless', 0], ['db.serverless', 1]]],
  ['serverless without readers', () => serverless({ readers: 0 }), [['db.serverless', 0]]],
  ['serverless with two readers', () => serverless({ readers: 2 }), [['db.serverless', 0], ['db.serverless', 1], ['db.serverless', 1]]],
  // Tier 2 and above scale by themselves.
  ['serverless with independent readers', () => serverless({ readers: 2, independentReaders: true }),
    [['db.serverless', 0], ['db.serverless', 2], ['db.serverless', 2]]],
  ['provisioned with one reader', () => provisioned(), [['db.r8g.large', 0], ['db.r8g.large', 1]]],
  ['provisioned without readers', () => provisioned({ readers: 0 }), [['db.r8g.large', 0]]],
  ['provisioned with autoscaled readers', () => autoscaled(), [['db.r8g.large', 0], ['db.r8g.large', 1], ['db.r8g.large', 1]]],
])('instances: %s', (_, plan, expected) => {
  database(plan());
  expect(instances()).toEqual(expected);
});

test.each([serverless, provisioned])('as many readers as Aurora takes', (plan) => {
  database(plan({ readers: 15 }));
  expect(instances()).toHaveLength(16);
});

describe('serverless', () => {
  test.each<[ServerlessInstancesOptions, { MinCapacity: number; MaxCapacity: number }]>([
    [{}, { MinCapacity: 0.5, MaxCapacity: 16 }],
    [{ minCapacity: 0, maxCapacity: 256 }, { MinCapacity: 0, MaxCapacity: 256 }],
    [{ minCapacity: 8, maxCapacity: 8 }, { MinCapacity: 8, MaxCapacity: 8 }],
  ])('between limits: %j', (options, ServerlessV2ScalingConfiguration) => {
    database(serverless(options));
    Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBCluster', { ServerlessV2ScalingConfiguration });
  });

  test('no capacity that is only known at deployment', () => {
    const [minCapacity, maxCapacity] = [Token.asNumber({ Ref: 'Min' }), Token.asNumber({ Ref: 'Max' })];
    // Older versions of aws-cdk-lib refuse it themselves.
    expect(() => database(serverless({ minCapacity, maxCapacity }))).not.toThrow(/in steps of 0.5|must not be greater/);
  });
});

test('warns that independent readers are no good failover targets', () => {
  database(serverless({ independentReaders: true }));
  Annotations.fromStack(stack).hasWarning('/Test/Database/Cluster', Match.stringLikeRegexp('noFailoverServerlessReaders'));
});

test('warns of nothing otherwise', () => {
  database(serverless({ readers: 2 }));
  new CqrsAuroraCluster(stack, 'Scaled', { vpc, instances: autoscaled() });
  Annotations.fromStack(stack).hasNoWarning('*', Match.anyValue());
});

describe('autoscaled', () => {
  test('between their limits, by the CPU use of the readers', () => {
    const db = database(autoscaled());
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::ApplicationAutoScaling::ScalableTarget', {
      ServiceNamespace: 'rds',
      ScalableDimension: 'rds:cluster:ReadReplicaCount',
      ResourceId: { 'Fn::Join': ['', ['cluster:', stack.resolve(db.cluster.clusterIdentifier)]] },
      MinCapacity: 2,
      MaxCapacity: 6,
      // https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html
      RoleARN: {
        'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':iam::111122223333:role/aws-service-role/'
          + 'rds.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_RDSCluster']],
      },
    });
    template.hasResourceProperties('AWS::ApplicationAutoScaling::ScalingPolicy', {
      PolicyType: 'TargetTrackingScaling',
      ScalingTargetId: stack.resolve(db.readerScaling!.scalableTargetId),
      TargetTrackingScalingPolicyConfiguration: {
        PredefinedMetricSpecification: { PredefinedMetricType: 'RDSReaderAverageCPUUtilization' },
        TargetValue: 60,
      },
    });
    template.resourceCountIs('AWS::IAM::Role', 0);
  });

  test('to a target that is given', () => {
    database(autoscaled({ targetReaderCpuPercent: 40 }));
    Template.fromStack(stack).hasResourceProperties('AWS::ApplicationAutoScaling::ScalingPolicy', {
      TargetTrackingScalingPolicyConfiguration: { TargetValue: 40 },
    });
  });

  test('not before the readers of the stack are there, or Aurora would add these itself', () => {
    database(autoscaled());
    const template = Template.fromStack(stack);
    const [target] = Object.values(template.findResources('AWS::ApplicationAutoScaling::ScalableTarget'));
    expect(target!.DependsOn).toEqual(expect.arrayContaining(Object.keys(template.findResources('AWS::RDS::DBInstance'))));
  });

  test('of a fixed size, without a range of capacity', () => {
    database(autoscaled());
    Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBCluster', { ServerlessV2ScalingConfiguration: Match.absent() });
  });

  test('up to a limit that is only known at deployment', () => {
    database(autoscaled({ maxReaders: Token.asNumber({ Ref: 'Max' }) }));
    Template.fromStack(stack).hasResourceProperties('AWS::ApplicationAutoScaling::ScalableTarget', { MaxCapacity: { Ref: 'Max' } });
  });

  test.each([serverless, provisioned])('others are no target of a scaling', (plan) => {
    const db = database(plan());
    expect([db.readerScaling, db.readerScalingPolicy]).toEqual([undefined, undefined]);
    Template.fromStack(stack).resourceCountIs('AWS::ApplicationAutoScaling::ScalableTarget', 0);
  });
});

describe('refuses', () => {
  const token = Token.asNumber({ Ref: 'Readers' });
  test.each<[string, () => CqrsInstances, string]>([
    ['more readers than Aurora takes', () => serverless({ readers: 16 }), 'readers must be a whole number between 0 and 15, got 16'],
    ['a part of a reader', () => provisioned({ readers: 1.5 }), 'readers must be a whole number between 0 and 15, got 1.5'],
    ['fewer than none', () => serverless({ readers: -1 }), 'readers must be a whole number between 0 and 15, got -1'],
    ['a token of serverless ones', () => serverless({ readers: token }),
      'readers must be known when the template is made, as each reader is a resource: give a number, not a token'],
    ['a token of provisioned ones', () => provisioned({ readers: token }), 'readers must be known when the template is made'],
    ['autoscaling of none', () => autoscaled({ readers: 0 }), 'readers must be a whole number between 1 and 15, got 0'],
    ['less at most than at least', () => autoscaled({ maxReaders: 1 }), 'maxReaders must be a whole number between 2 and 15, got 1'],
    ['too many at most', () => autoscaled({ maxReaders: 16 }), 'maxReaders must be a whole number between 2 and 15, got 16'],
    ['a target that can\'t be', () => autoscaled({ targetReaderCpuPercent: 101 }),
      'targetReaderCpuPercent must be a whole number between 1 and 100, got 101'],
    ['a target of nothing', () => provisioned({ targetReaderCpuPercent: 60 }),
      'targetReaderCpuPercent needs maxReaders: give that too, or leave targetReaderCpuPercent out'],
    ['a step that can\'t be', () => serverless({ minCapacity: 0.7 }), 'minCapacity must be between 0 and 256 in steps of 0.5, got 0.7'],
    ['too little at most', () => serverless({ maxCapacity: 0.5 }), 'maxCapacity must be between 1 and 256 in steps of 0.5, got 0.5'],
    ['too much', () => serverless({ maxCapacity: 300 }), 'maxCapacity must be between 1 and 256 in steps of 0.5, got 300'],
    ['less capacity at most than at least', () => serverless({ minCapacity: 8, maxCapacity: 4 }),
      'minCapacity (8) must not be greater than maxCapacity (4)'],
  ])('%s', (_, plan, message) => {
    expect(() => database(plan())).toThrow(message);
    expect(() => new CqrsAuroraCluster(stack, 'Again', { vpc, instances: plan() })).toThrow("(in 'Test/Again')");
  });
});
