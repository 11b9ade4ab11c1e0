import { letsIn } from './attributes.ts';
import type { SqsEndpoint } from './endpoint.ts';
import { passedOver } from './policy.ts';
import { makeEach } from '../assembly/make-each.ts';
import type { Model, Resource } from '../assembly/model.ts';

const PLAIN = [
  'DelaySeconds', 'MaximumMessageSize', 'MessageRetentionPeriod', 'ReceiveMessageWaitTimeSeconds', 'VisibilityTimeout', 'FifoQueue',
  'ContentBasedDeduplication', 'DeduplicationScope', 'FifoThroughputLimit', 'KmsDataKeyReusePeriodSeconds', 'SqsManagedSseEnabled',
] as const;

export interface MadeQueue {
  readonly resource: Resource;
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  readonly maxReceiveCount?: number;
  readonly deadLetterArn?: string;
}

/** Makes the queues of the templates with all attributes that the endpoint knows, and their policies. */
export function makeQueues(model: Model, sqs: SqsEndpoint, warn: (sentence: string) => void): MadeQueue[] {
  const allowed = new Map<string, string>();
  const queues = makeEach(model.ofType('AWS::SQS::Queue'), warn, (resource): MadeQueue => {
    const attributes: Record<string, string> = {};
    for (const name of PLAIN) {
      const value = resource.text(name);
      if (value !== undefined) attributes[name] = value;
    }
    const name = String(resource.attribute('QueueName', resource.path));
    const arn = String(resource.attribute('Arn', resource.path));
    const redrive = policy(resource, 'RedrivePolicy') as { deadLetterTargetArn?: unknown; maxReceiveCount?: unknown } | undefined;
    const maxReceiveCount = redrive && Number(redrive.maxReceiveCount);
    if (redrive) attributes.RedrivePolicy = JSON.stringify({ ...redrive, maxReceiveCount });
    const allow = policy(resource, 'RedriveAllowPolicy');
    if (allow !== undefined) {
      attributes.RedriveAllowPolicy = JSON.stringify(allow);
      allowed.set(arn, attributes.RedriveAllowPolicy);
    }
    sqs.createQueue({ name, arn, attributes }, resource.world.account);
    return {
      resource,
      name,
      arn,
      url: sqs.queueUrl(name, resource.world.account),
      ...(redrive && { deadLetterArn: String(redrive.deadLetterTargetArn), maxReceiveCount: Number(maxReceiveCount) }),
    };
  });
  for (const { resource, arn, deadLetterArn = '' } of queues) {
    const dead = queues.find((queue) => queue.arn === deadLetterArn);
    const text = allowed.get(deadLetterArn);
    if (dead && text !== undefined && !letsIn({ attributes: { RedriveAllowPolicy: text } }, arn)) {
      warn(`Queue ${resource.constructPath} may not use ${dead.resource.constructPath} for its dead letters: its RedriveAllowPolicy refuses. `
        + 'AWS would not deploy this; here its failed messages stay.');
    }
  }
  const byUrl = new Map(queues.map((queue) => [queue.url, queue.name]));
  for (const resource of model.ofType('AWS::SQS::QueuePolicy', 'AWS::SQS::QueueInlinePolicy')) {
    // Principals and conditions may name what only AWS knows; such a statement then matches nobody here.
    const lenient = (property: string) => resource.stack.evaluator.resolveLeniently(resource.source.Properties?.[property], `${resource.path}.${property}`, () => '?');
    const named = resource.type === 'AWS::SQS::QueuePolicy' ? lenient('Queues') as unknown[] : [lenient('Queue')];
    const { Statement = [] } = lenient('PolicyDocument') as { Statement?: unknown };
    const statements: unknown[] = Array.isArray(Statement) ? Statement : [Statement];
    const elements = passedOver(statements);
    if (elements.length > 0) {
      warn(`${resource.constructPath} (${resource.type}) has statements with ${elements.join(' and ')}, which are passed over here: AWS may refuse messages `
        + 'that arrive in this run, or take others.');
    }
    sqs.addPolicy(named.map((url) => byUrl.get(String(url)) ?? String(url)), statements);
  }
  return queues;
}

/** Policies may be given as objects or as JSON texts. */
function policy(resource: Resource, property: string): unknown {
  const value = resource.get(property);
  return typeof value === 'string' ? JSON.parse(value) : value;
}
