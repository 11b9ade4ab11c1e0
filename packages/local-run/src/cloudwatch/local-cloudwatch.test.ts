import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { CloudWatchClient, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch';
import type { MetricDatum } from '@aws-sdk/client-cloudwatch';
import * as cdk from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { LocalCloudWatch } from './local-cloudwatch.ts';
import { functionTest } from '../../test/lambda/stack.ts';
import { atEnd, eventually } from '../../test/temporary.ts';
import { readAssembly } from '../assembly/assembly.ts';
import { Model } from '../assembly/model.ts';
import { namedType } from '../assembly/types.ts';
import type { RunContext } from '../service.ts';

const metric = (metricName: string, props: Partial<cloudwatch.MetricProps> = {}) => new cloudwatch.Metric({
  namespace: 'Shop', metricName, dimensionsMap: { Pipeline: 'one' }, statistic: 'Maximum', period: cdk.Duration.minutes(1), ...props,
});

function addAlarms(stack: cdk.Stack): void {
  metric('Leader').createAlarm(stack, 'NoLeader', {
    threshold: 1,
    evaluationPeriods: 2,
    comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
    treatMissingData: cloudwatch.TreatMissingData.BREACHING,
    alarmDescription: 'Nobody leads. Look at the log.',
  });
  new sqs.Queue(stack, 'Queue').metricApproximateAgeOfOldestMessage().createAlarm(stack, 'Age', { threshold: 1, evaluationPeriods: 1 });
  metric('Time', { statistic: 'p99' }).createAlarm(stack, 'Slow', { threshold: 1, evaluationPeriods: 1 });
  new cloudwatch.MathExpression({ expression: 'a + 1', usingMetrics: { a: metric('A') } }).createAlarm(stack, 'Sum', { threshold: 1, evaluationPeriods: 1 });
}

function clientOf(context: TestContext, endpoint: string) {
  const client = new CloudWatchClient({
    endpoint, region: 'us-east-1', credentials: { accessKeyId: 'x', secretAccessKey: 'x' }, maxAttempts: 1, disableRequestCompression: true,
  });
  atEnd(context, () => client.destroy());
  return (data: MetricDatum[], Namespace = 'Shop') => client.send(new PutMetricDataCommand({ Namespace, MetricData: data }));
}

test('an alarm of a stack goes off and is over with the values that a program sends', async (context) => {
  const stackTest = functionTest(context);
  addAlarms(stackTest.stack);
  const reports: string[] = [];
  const leftOut: string[] = [];
  const log = () => undefined;
  const service = new LocalCloudWatch({
    log,
    port: () => Promise.resolve(0),
    warn: assert.fail,
    report: (sentence) => void reports.push(sentence),
    leaveOut: (reason) => void leftOut.push(reason),
  } as Partial<RunContext> as RunContext, 2);
  atEnd(context, () => service.stop());
  await service.start();
  const model = new Model(readAssembly(stackTest.synthesize()), {
    account: '000000000000', region: 'us-east-1', resourceType: (type: string) => service.types[type as keyof typeof service.types] ?? namedType(type),
  } as never);
  assert.equal(await service.make(model), '1 alarm');
  assert.deepEqual(leftOut, ['alarms on metrics of AWS services, which send none here', 'alarms on percentiles and bands', 'alarms on expressions']);

  const state = () => service.alarms[0]!.state;
  await eventually(() => state() === 'ALARM', 'the alarm');
  const put = clientOf(context, service.url);
  // Half of a period of 120 ms, so that no period is empty.
  const sending = setInterval(() => void put([{ MetricName: 'Leader', Value: 1, Dimensions: [{ Name: 'Pipeline', Value: 'one' }] }]).catch(() => undefined), 20);
  atEnd(context, () => clearInterval(sending));
  await eventually(() => state() === 'OK', 'the end of the alarm');
  clearInterval(sending);
  assert.deepEqual(reports, ['The alarm Test/NoLeader has gone off (none, none). Nobody leads.', 'The alarm Test/NoLeader is over.']);
});

test('values are taken in each form, and wrong ones refused', async (context) => {
  const service = new LocalCloudWatch({ log: () => undefined, port: () => Promise.resolve(0) } as Partial<RunContext> as RunContext);
  atEnd(context, () => service.stop());
  await service.start();
  const put = clientOf(context, service.url);
  await put([
    { MetricName: 'A', Value: 1, Timestamp: new Date(), Unit: 'Count' }, { MetricName: 'B', Values: [1, 2], Counts: [3, 4] },
    { MetricName: 'C', StatisticValues: { SampleCount: 1, Sum: 1, Minimum: 1, Maximum: 1 } },
  ]);
  const many = (length: number) => Array.from({ length }, () => ({ MetricName: 'A', Value: 1 }));
  await put(many(50));
  await assert.rejects(put(many(1001)), { name: 'InvalidParameterValueException' });
  await assert.rejects(put([{ MetricName: 'A' }]), { name: 'MissingRequiredParameterException' });
  await assert.rejects(put([{ MetricName: '', Value: 1 }]), { name: 'ValidationException' });
  await assert.rejects(put([{ MetricName: 'A', Value: 1 }], 'AWS/SQS'), { name: 'InvalidParameterValueException' });
});

test('a run has the alarms, and programs find the endpoint', async (context) => {
  const stackTest = functionTest(context);
  addAlarms(stackTest.stack);
  const { run } = await stackTest.start();
  assert.deepEqual(run.alarms.map(({ name, state }) => [name, state()]), [['Test/NoLeader', 'INSUFFICIENT_DATA']]);
  assert.equal(run.withoutMeaning.get('alarms on metrics of AWS services, which send none here'), 1);
  const { AWS_ENDPOINT_URL_CLOUDWATCH: url, AWS_DISABLE_REQUEST_COMPRESSION: plain } = run.environment;
  assert.deepEqual([url, plain], [run.endpoints.cloudwatch, 'true']);
  await clientOf(context, run.endpoints.cloudwatch!)([{ MetricName: 'Leader', Value: 1 }]);
});
