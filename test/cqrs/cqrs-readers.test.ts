import { App, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { AutoscaledReadersOptions, CqrsAuroraCluster, CqrsAuroraClusterProps, CqrsReaders } from '../../src/cqrs';

let stack: Stack;
let vpc: ec2.IVpc;
beforeEach(() => {
  stack = new Stack(new App(), 'Test', { env: { account: '111122223333', region: 'eu-west-1' } });
  vpc = new ec2.Vpc(stack, 'Vpc');
});

function database(readers?: CqrsReaders, props: Partial<CqrsAuroraClusterProps> = {}): CqrsAuroraCluster {
  return new CqrsAuroraCluster(stack, 'Database', { vpc, readers, ...props });
}

function autoscaled(options: Partial<AutoscaledReadersOptions> = {}): CqrsReaders {
  return CqrsReaders.autoscaled({ instanceType: new ec2.InstanceType('r7g.large'), minReaders: 2, maxReaders: 6, ...options });
}

/** Class and promotion tier of each instance. */
function instances(): unknown[] {
  return Object.values(Template.fromStack(stack).findResources('AWS::RDS::DBInstance')).map(({ Properties }) => {
    expect(Properties.PubliclyAccessible).toBe(false);
    return [Properties.DBInstanceClass, Properties.PromotionTier];
  });
}

test.each<[string, () => CqrsReaders | undefined, unknown[]]>([
  ['one with the writer by default', () => undefined, [['db.serverless', 0], ['db.serverless', 1]]],
  ['none', () => CqrsReaders.none(), [['db.serverless', 0]]],
  ['none by a count', () => CqrsReaders.withWriter(0), [['db.serverless', 0]]],
  ['with the writer', () => CqrsReaders.withWriter(2), [['db.serverless', 0], ['db.serverless', 1], ['db.serverless', 1]]],
  // Tier 2 and above scale by themselves.
  ['independent', () => CqrsReaders.independent(2), [['db.serverless', 0], ['db.serverless', 2], ['db.serverless', 2]]],
  ['autoscaled', () => autoscaled(), [['db.r7g.large', 0], ['db.r7g.large', 1], ['db.r7g.large', 1]]],
])('readers: %s', (_, readers, expected) => {
  database(readers());
  expect(instances()).toEqual(expected);
});

test.each<[string, (count: number) => CqrsReaders]>([
  ['with the writer', CqrsReaders.withWriter],
  ['independent', CqrsReaders.independent],
])('as many as Aurora takes: %s', (_, readers) => {
  database(readers(15));
  expect(instances()).toHaveLength(16);
});

test('warns that independent readers are no good failover targets', () => {
  database(CqrsReaders.independent(1));
  Annotations.fromStack(stack).hasWarning('/Test/Database/Cluster', Match.stringLikeRegexp('noFailoverServerlessReaders'));
});

test('warns of nothing otherwise', () => {
  database(CqrsReaders.withWriter(2));
  new CqrsAuroraCluster(stack, 'Scaled', { vpc, readers: autoscaled() });
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
    database(autoscaled({ targetCpuUtilizationPercent: 40 }));
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
    for (const prop of ['minCapacity', 'maxCapacity']) {
      expect(() => new CqrsAuroraCluster(stack, `With ${prop}`, { vpc, readers: autoscaled(), [prop]: 2 })).toThrow(
        `${prop} can't be given together with CqrsReaders.autoscaled, whose instanceType sets the size of the instances`);
    }
  });

  test('up to a limit that is only known at deployment', () => {
    database(autoscaled({ maxReaders: Token.asNumber({ Ref: 'Max' }) }));
    Template.fromStack(stack).hasResourceProperties('AWS::ApplicationAutoScaling::ScalableTarget', { MaxCapacity: { Ref: 'Max' } });
  });

  test('readers that aren\'t are no target of a scaling', () => {
    const db = database(CqrsReaders.withWriter(1));
    expect([db.readerScaling, db.readerScalingPolicy]).toEqual([undefined, undefined]);
    Template.fromStack(stack).resourceCountIs('AWS::ApplicationAutoScaling::ScalableTarget', 0);
  });
});

describe('refuses', () => {
  const token = Token.asNumber({ Ref: 'Readers' });
  test.each<[string, () => CqrsReaders, string]>([
    ['more than Aurora takes', () => CqrsReaders.withWriter(16), 'readers must be a whole number between 0 and 15, got 16'],
    ['a part of a reader', () => CqrsReaders.independent(1.5), 'readers must be a whole number between 0 and 15, got 1.5'],
    ['fewer than none', () => CqrsReaders.independent(-1), 'readers must be a whole number between 0 and 15, got -1'],
    ['a token with the writer', () => CqrsReaders.withWriter(token),
      'readers must be known when the template is made, as each reader is a resource: give a number, not a token'],
    ['a token of independent ones', () => CqrsReaders.independent(token), 'readers must be known when the template is made'],
    ['a token of autoscaled ones', () => autoscaled({ minReaders: token }), 'minReaders must be known when the template is made'],
    ['autoscaling of none', () => autoscaled({ minReaders: 0 }), 'minReaders must be a whole number between 1 and 15, got 0'],
    ['less at most than at least', () => autoscaled({ maxReaders: 1 }), 'maxReaders must be a whole number between 2 and 15, got 1'],
    ['too many at most', () => autoscaled({ maxReaders: 16 }), 'maxReaders must be a whole number between 2 and 15, got 16'],
    ['a target that can\'t be', () => autoscaled({ targetCpuUtilizationPercent: 101 }),
      'targetCpuUtilizationPercent must be a whole number between 1 and 100, got 101'],
  ])('%s', (_, readers, message) => {
    expect(() => database(readers())).toThrow(message);
    expect(() => new CqrsAuroraCluster(stack, 'Again', { vpc, readers: readers() })).toThrow("(in 'Test/Again')");
  });
});
