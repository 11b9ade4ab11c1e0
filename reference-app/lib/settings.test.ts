import assert from 'node:assert/strict';
import { test } from 'node:test';
import { App } from 'aws-cdk-lib';
import { compilePattern, matchesPattern } from 'cdk-local-run/eventbridge/pattern';
import { checkSettings, defaultSettings, detailTypesOf, type Settings, settingsFrom } from './settings.ts';

test('every event goes to the consumers that need it, and to no other', () => {
  const subscribers = (detailType: string, data: object) => Object.entries(defaultSettings.consumers)
    .filter(([, consumer]) => matchesPattern(
      compilePattern({ 'detail-type': detailTypesOf(consumer), ...'detail' in consumer.events && { detail: consumer.events.detail } }),
      { 'detail-type': detailType, 'detail': { data } },
    ))
    .map(([serviceName]) => serviceName);

  assert.deepEqual(subscribers('OrderCreated', {}), ['stock-service', 'analytics-service']);
  assert.deepEqual(subscribers('StockValidated', { sufficient: false }), ['inventory-service']);
  assert.deepEqual(subscribers('InventoryUpdated', { outcome: 'RESERVED' }), ['order-status', 'analytics-service']);
  assert.deepEqual(subscribers('InventoryUpdated', { outcome: 'REJECTED' }), ['order-status', 'analytics-service']);
  assert.deepEqual(subscribers('InventoryUpdated', { outcome: 'DEDUCTED' }), ['notification-service', 'analytics-service']);
  assert.deepEqual(subscribers('OrderConfirmed', {}), ['inventory-service', 'notification-service', 'analytics-service']);
  assert.deepEqual(subscribers('OrderRejected', { reason: 'INSUFFICIENT_STOCK' }), ['notification-service', 'analytics-service']);
});

test('a misspelled setting is an error, and a key of the CDK is none', () => {
  assert.throws(() => settingsFrom(new App({ context: { natGateway: '1' } })), /^Error: There is no setting natGateway: choose .*natGateways/);
  assert.deepEqual(settingsFrom(new App({ context: { 'profile': 'order-pipeline', '@aws-cdk/core:newStyle': true, 'vpc-provider:x': {} } })), defaultSettings);
});

test('settings of an account come from the context, and the others stay', () => {
  assert.deepEqual(settingsFrom(new App()), defaultSettings);
  const context = {
    issuer: 'https://login.shop.example/',
    audience: 'orders, shop',
    customerClaim: 'customer_id',
    certificateArn: 'arn:aws:acm:eu-west-1:111122223333:certificate/12345678',
    operatorRoleArn: 'arn:aws:iam::111122223333:role/on-call',
    alarmTopicArn: 'arn:aws:sns:eu-west-1:111122223333:on-call',
    publicAccessCidrs: '203.0.113.0/24, 198.51.100.7/32',
    verifyEvents: 'false',
    observability: 'false',
    logRetentionDays: '7',
    natGateways: '1',
    interfaceEndpoints: '',
  };
  const { issuer, customerClaim, certificateArn, operatorRoleArn, alarmTopicArn } = context;
  assert.deepEqual(checkSettings(settingsFrom(new App({ context }))), {
    ...defaultSettings,
    issuer,
    audience: ['orders', 'shop'],
    customerClaim,
    certificateArn,
    operatorRoleArn,
    alarmTopicArn,
    publicAccessCidrs: ['203.0.113.0/24', '198.51.100.7/32'],
    verifyEvents: false,
    observability: false,
    logRetentionDays: 7,
    natGateways: 1,
    interfaceEndpoints: [],
  });
  assert.throws(() => settingsFrom(new App({ context: { observability: 'no' } })), /^Error: The setting observability must be true or false, not 'no'\.$/);
});

test('direct: the inventory gets the order itself in place of the advice about it, and nobody else gets anything else', () => {
  const { consumers, ...others } = settingsFrom(new App({ context: { direct: 'true' } }));
  assert.deepEqual(others, { ...others, direct: true });
  const events = (from: Settings['consumers']) => Object.fromEntries(Object.entries(from).map(([name, one]) => [name, detailTypesOf(one).sort()]));
  const { 'inventory-service': inventory, ...rest } = events(consumers);
  const { 'inventory-service': advised, ...same } = events(defaultSettings.consumers);
  assert.deepEqual(rest, same);
  assert.deepEqual(inventory, [...advised!.filter((type) => type !== 'StockValidated'), 'OrderCreated'].sort());
  assert.ok(advised!.includes('StockValidated'));
});

const consumer = defaultSettings.consumers['stock-service']!;
const WRONG: readonly (readonly [Partial<Settings>, RegExp])[] = [
  [{ logRetentionDays: 31 }, /^Error: The setting logRetentionDays must be one of 1, 3, 5, 7, .*, not 31\.$/],
  [{ logRetentionDays: NaN }, /logRetentionDays must be one of .*, not NaN/],
  [{ eventSource: 'aws.orders' }, /eventSource must be .*not begin with aws\., not "aws\.orders"/],
  [{ namespace: 'Orders' }, /namespace must be a name of Kubernetes, such as orders, not "Orders"/],
  [{ namespace: 'default' }, /namespace must be one of your own/],
  [{ issuer: 'http://login.example.com' }, /issuer must be an address with https, such as https:\/\/login\.example\.com\/, not "http:/],
  [{ audience: [] }, /audience must be at least one name, each without a comma, not \[\]/],
  [{ audience: ['orders,shop'] }, /audience must be at least one name/],
  [{ customerClaim: '' }, /customerClaim must be the name of a claim, such as sub, not ""/],
  [{ limits: { maxConnections: -1 } }, /limits\.maxConnections must be a whole number, or 0 for no limit, not -1/],
  [{ certificateArn: 'arn:aws:iam::111122223333:server-certificate/x' }, /certificateArn must be an ARN such as arn:aws:acm:/],
  [{ operatorRoleArn: 'on-call' }, /operatorRoleArn must be an ARN such as arn:aws:iam::111122223333:role\/on-call, not "on-call"/],
  [{ alarmTopicArn: 'arn:aws:sqs:eu-west-1:111122223333:x' }, /alarmTopicArn must be an ARN such as arn:aws:sns:/],
  [{ publicAccessCidrs: ['203.0.113.7'] }, /publicAccessCidrs must be blocks of addresses such as 203\.0\.113\.0\/24, not "203\.0\.113\.7"/],
  [{ publicAccessCidrs: ['203.0.113.999/24'] }, /publicAccessCidrs must be blocks of addresses .*, not "203\.0\.113\.999\/24"/],
  [{ publicAccessCidrs: ['203.0.113.0/33'] }, /publicAccessCidrs must be blocks of addresses .*, not "203\.0\.113\.0\/33"/],
  [{ publicAccessCidrs: ['0.0.0.0/0'] }, /publicAccessCidrs must be blocks of your own addresses/],
  [{ natGateways: NaN }, /natGateways must be a whole number from 1, .*, not NaN\.$/],
  [{ natGateways: 0 }, /natGateways must be a whole number from 1/],
  [{ interfaceEndpoints: ['sqs', 'kafka' as 'sqs'] }, /interfaceEndpoints must be some of sqs, .*, not \["kafka"\]/],
  [{ commandApi: { minReplicas: 0, maxReplicas: 2 } }, /commandApi\.minReplicas must be at least 1, not 0/],
  [
    { consumers: { a: { ...consumer, replicas: { ...consumer.replicas, minReplicas: 3, maxReplicas: 2 } } } },
    /consumers\.a\.replicas\.maxReplicas must be at least minReplicas \(3\), not 2/,
  ],
];

for (const [change, message] of WRONG) {
  test(`refuses ${JSON.stringify(change).slice(0, 60)} with the name of the setting and the fix`, () => {
    assert.throws(() => checkSettings({ ...defaultSettings, ...change }), message);
  });
}

test('accepts the default settings, and no logs forever', () => {
  assert.equal(checkSettings(defaultSettings), defaultSettings);
  assert.ok(defaultSettings.logRetentionDays < 365);
});
