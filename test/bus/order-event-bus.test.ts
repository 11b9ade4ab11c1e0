import { join } from 'node:path';
import { App, Duration, InjectionContext, IPropertyInjector, NestedStack, PropertyInjectors, RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import { EventArchive, OrderEventBus, OrderEventBusProps } from '../../src/bus';
import { expectLogicalIds } from '../logical-ids';
import { unacknowledgedFindings } from '../nag';

let stack: Stack;
beforeEach(() => {
  stack = new Stack(new App(), 'Test');
});

test('a bus with an archive of every event for 30 days', () => {
  const bus = new OrderEventBus(stack, 'Bus');

  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::Events::EventBus', 1);
  template.hasResourceProperties('AWS::Events::Archive', {
    SourceArn: stack.resolve(bus.eventBus.eventBusArn),
    EventPattern: { source: [{ prefix: '' }] },
    RetentionDays: 30,
  });
  expect(bus.archive).toBeDefined();
  expect(unacknowledgedFindings(stack)).toEqual([]);
});

test.each<[string, () => OrderEventBusProps]>([
  ['as it is by default', () => ({})],
  ['that is brought', () => ({ eventBus: new events.CfnEventBus(stack, 'Brought', { name: 'shop' }) })],
  ['with a key', () => ({ encryptionKey: new kms.Key(stack, 'Key') })],
])('the logical ids are kept of a bus %s', (name, props) => {
  new OrderEventBus(stack, 'Bus', props());
  expectLogicalIds(stack, join(__dirname, 'logical-ids', `bus-${name.replaceAll(' ', '-')}.json`));
});

describe('its name', () => {
  const nameOf = (inStack: Stack): string => {
    const [bus] = Object.values(Template.fromStack(inStack).findResources('AWS::Events::EventBus'));
    return bus!.Properties.Name;
  };
  const copy = (stackName: string) => {
    const shop = new Stack(new App(), 'Shop', { stackName });
    new OrderEventBus(shop, 'Bus');
    return nameOf(shop);
  };

  test('is another one in a copy of the stack with another name, and stays the same otherwise', () => {
    expect(copy('ShopTest')).not.toBe(copy('ShopLive'));
    expect(copy('ShopTest')).toBe(copy('ShopTest'));
    expect(copy('ShopTest')).toMatch(/^ShopTestBus\w{8}$/);
  });

  test('is one that EventBridge takes, however long the names are', () => {
    const long = new Stack(new App(), 'L'.repeat(128));
    new OrderEventBus(long, 'B'.repeat(200));
    expect(nameOf(long)).toMatch(/^[\w.-]{1,256}$/);
  });

  test('is known in a nested stack', () => {
    const nested = new NestedStack(stack, 'Nested');
    new OrderEventBus(nested, 'Bus');
    expect(nameOf(nested)).toMatch(/^TestNestedBus\w{8}$/);
  });
});

test('takes defaults of an organisation', () => {
  const injector: IPropertyInjector = {
    constructUniqueId: OrderEventBus.PROPERTY_INJECTION_ID,
    inject: (props: OrderEventBusProps, _context: InjectionContext) => ({ archive: EventArchive.none(), ...props }),
  };
  PropertyInjectors.of(stack).add(injector);
  new OrderEventBus(stack, 'Bus');
  Template.fromStack(stack).resourceCountIs('AWS::Events::Archive', 0);
});

test.each<[RemovalPolicy | undefined, string | undefined]>([
  [undefined, undefined],
  [RemovalPolicy.DESTROY, 'Delete'],
  [RemovalPolicy.RETAIN, 'Retain'],
])('with removalPolicy %s it goes or stays with its archive', (removalPolicy, DeletionPolicy) => {
  new OrderEventBus(stack, 'Bus', { removalPolicy });
  const template = Template.fromStack(stack);
  const policyOf = (type: string) => Object.values(template.findResources(type)).map((resource) => resource.DeletionPolicy);
  expect(policyOf('AWS::Events::Archive')).toEqual([DeletionPolicy]);
  // Events are replayed only to the bus that they came from.
  expect(policyOf('AWS::Events::EventBus')).toEqual([DeletionPolicy]);
});

test.each([
  ['for a time', EventArchive.retain(Duration.days(90)), 90],
  ['forever', EventArchive.indefinite(), 0],
])('keeps events %s', (_, archive, days) => {
  new OrderEventBus(stack, 'Bus', { archive });
  Template.fromStack(stack).hasResourceProperties('AWS::Events::Archive', { RetentionDays: days });
});

test('makes no archive when told so', () => {
  const bus = new OrderEventBus(stack, 'Bus', { archive: EventArchive.none() });
  Template.fromStack(stack).resourceCountIs('AWS::Events::Archive', 0);
  expect(bus.archive).toBeUndefined();
});

test('archives a bus that is brought', () => {
  const eventBus = events.EventBus.fromEventBusName(stack, 'Existing', 'shop');
  const bus = new OrderEventBus(stack, 'Bus', { eventBus });

  expect(bus.eventBus).toBe(eventBus);
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::Events::EventBus', 0);
  template.hasResourceProperties('AWS::Events::Archive', { SourceArn: stack.resolve(eventBus.eventBusArn) });
});

test('makes a whole bus of a reference to one', () => {
  const reference = new events.CfnEventBus(stack, 'Existing', { name: 'shop' });
  const bus = new OrderEventBus(stack, 'Bus', { eventBus: reference });
  bus.eventBus.grantPutEventsTo(new iam.Role(stack, 'Role', { assumedBy: new iam.AccountRootPrincipal() }));

  const template = Template.fromStack(stack);
  const arn = stack.resolve(reference.attrArn);
  expect(stack.resolve(bus.eventBus.eventBusArn)).toEqual(arn);
  template.hasResourceProperties('AWS::Events::Archive', { SourceArn: arn });
  template.hasResourceProperties('AWS::IAM::Policy', { PolicyDocument: { Statement: [Match.objectLike({ Resource: arn })] } });
});

describe('with a customer managed key', () => {
  test('encrypts bus and archive, and lets EventBridge use the key for this bus', () => {
    const key = new kms.Key(stack, 'Key', { enableKeyRotation: true });
    new OrderEventBus(stack, 'Bus', { encryptionKey: key });

    // Template.fromStack fails on a cycle between key and bus.
    const template = Template.fromStack(stack);
    const keyArn = stack.resolve(key.keyArn);
    const [bus] = Object.values(template.findResources('AWS::Events::EventBus'));
    template.hasResourceProperties('AWS::Events::EventBus', { KmsKeyIdentifier: keyArn });
    template.hasResourceProperties('AWS::Events::Archive', { KmsKeyIdentifier: keyArn });
    template.hasResourceProperties('AWS::KMS::Key', {
      KeyPolicy: {
        Statement: Match.arrayWith([Match.objectLike({
          Principal: { Service: 'events.amazonaws.com' },
          Action: ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:ReEncrypt*'],
          Condition: {
            StringEquals: {
              'kms:EncryptionContext:aws:events:event-bus:arn': Match.objectLike({
                'Fn::Join': ['', Match.arrayWith([`:event-bus/${bus!.Properties.Name}`])],
              }),
            },
          },
        })]),
      },
    });
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });

  test('warns if the policy of the key can\'t be changed', () => {
    const key = kms.Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:eu-west-1:111122223333:key/1');
    new OrderEventBus(stack, 'Bus', { encryptionKey: key });
    Annotations.fromStack(stack).hasWarning('/Test/Bus', Match.stringLikeRegexp('encryptionKey is imported.*busKeyPolicyNotUpdated'));
  });
});

describe('refuses', () => {
  test('a key for a bus that is brought', () => {
    expect(() => new OrderEventBus(stack, 'Bus', {
      eventBus: events.EventBus.fromEventBusName(stack, 'Existing', 'shop'),
      encryptionKey: new kms.Key(stack, 'Key'),
    })).toThrow("encryptionKey can't be given together with eventBus: set it where eventBus is defined, or leave eventBus out (in 'Test/Bus')");
  });

  test('a snapshot of the archive, which there is none of', () => {
    expect(() => new OrderEventBus(stack, 'Bus', { removalPolicy: RemovalPolicy.SNAPSHOT }))
      .toThrow("removalPolicy must be DESTROY or RETAIN: an archive has no snapshot (in 'Test/Bus')");
  });

  test('a removal policy without an archive', () => {
    expect(() => new OrderEventBus(stack, 'Bus', { archive: EventArchive.none(), removalPolicy: RemovalPolicy.RETAIN }))
      .toThrow('removalPolicy needs an archive: give that too, or leave removalPolicy out');
  });

  test.each([Duration.hours(5), Duration.hours(36), Duration.days(0)])('a retention of %s', (retention) => {
    expect(() => new OrderEventBus(stack, 'Bus', { archive: EventArchive.retain(retention) }))
      .toThrow(`archive must retain events for whole days, at least one, got ${retention.toHumanString()}`);
  });
});

test('takes a retention that is only known at deployment', () => {
  const retention = Duration.days(Token.asNumber({ Ref: 'Days' }));
  new OrderEventBus(stack, 'Bus', { archive: EventArchive.retain(retention) });
  Template.fromStack(stack).hasResourceProperties('AWS::Events::Archive', { RetentionDays: { Ref: 'Days' } });
});
