import { join } from 'node:path';
import { App, Duration, Stack, Token } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as events from 'aws-cdk-lib/aws-events';
import * as kms from 'aws-cdk-lib/aws-kms';
import { EventArchive, OrderEventBus } from '../../src';
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

test('its logical ids are kept', () => {
  new OrderEventBus(stack, 'Bus');
  expectLogicalIds(stack, join(__dirname, 'order-event-bus.logical-ids.json'));
});

test.each([
  ['for a time', EventArchive.retain(Duration.days(90)), 90],
  ['for ever', EventArchive.indefinite(), 0],
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
