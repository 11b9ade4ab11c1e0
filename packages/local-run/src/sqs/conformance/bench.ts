import assert from 'node:assert/strict';
import {
  ChangeMessageVisibilityCommand, CreateQueueCommand, DeleteMessageCommand, GetQueueAttributesCommand, ReceiveMessageCommand,
  SendMessageBatchCommand, SendMessageCommand, SQSClient,
} from '@aws-sdk/client-sqs';
import type {
  BatchResultErrorEntry, Message, QueueAttributeName, ReceiveMessageCommandInput, SendMessageBatchRequestEntry,
  SendMessageCommandInput, SendMessageResult,
} from '@aws-sdk/client-sqs';
import { QueueEndpoint } from './endpoint-under-test.ts';

/** One rule of SQS. */
export interface Check {
  readonly id: string;
  /** The page of the AWS documentation that states the rule. */
  readonly source: string;
  /** The rule, as a sentence. */
  readonly rule: string;
  /** Rejects if the endpoint breaks the rule. */
  readonly run: (bench: Bench) => Promise<void>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export const apiPage = (action: string): string => `https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_${action}.html`;
export const guidePage = (name: string): string => `https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/${name}.html`;

const SIGNATURE = 'AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0';

let made = 0;

/** What a check works with: queues of its own on a running endpoint, the real SDK client, and requests as they go over the wire. */
export class Bench {
  readonly client: SQSClient;
  readonly #endpoint: QueueEndpoint;

  constructor(endpoint: QueueEndpoint) {
    this.#endpoint = endpoint;
    this.client = new SQSClient({
      region: endpoint.region, endpoint: endpoint.url, credentials: { accessKeyId: 'local', secretAccessKey: 'local' }, maxAttempts: 1,
    });
  }

  close(): void {
    this.client.destroy();
  }

  get url(): string {
    return this.#endpoint.url;
  }

  name(suffix = ''): string {
    return `check-${++made}${suffix}`;
  }

  arn(queueUrl: string): string {
    const [account, name] = queueUrl.split('/').slice(-2);
    return `arn:aws:sqs:${this.#endpoint.region}:${account}:${name}`;
  }

  async queue(Attributes: Record<string, string> = {}): Promise<string> {
    const fifo = Attributes.FifoQueue === 'true';
    return (await this.client.send(new CreateQueueCommand({ QueueName: this.name(fifo ? '.fifo' : ''), Attributes }))).QueueUrl!;
  }

  fifo(attributes: Record<string, string> = { ContentBasedDeduplication: 'true' }): Promise<string> {
    return this.queue({ FifoQueue: 'true', ...attributes });
  }

  /** A queue and its dead-letter queue. */
  async withDeadLetters(maxReceiveCount = 1, attributes: Record<string, string> = {}): Promise<{ queue: string; dead: string }> {
    const fifo: Record<string, string> = attributes.FifoQueue === 'true' ? { FifoQueue: 'true', ContentBasedDeduplication: 'true' } : {};
    const dead = await this.queue(fifo);
    const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: this.arn(dead), maxReceiveCount });
    const queue = await this.queue({ ...fifo, ...attributes, RedrivePolicy });
    return { queue, dead };
  }

  send(QueueUrl: string, MessageBody: string, more: Partial<SendMessageCommandInput> = {}): Promise<SendMessageResult> {
    return this.client.send(new SendMessageCommand({ QueueUrl, MessageBody, ...(QueueUrl.endsWith('.fifo') && { MessageGroupId: 'g' }), ...more }));
  }

  async sendBatch(QueueUrl: string, Entries: Partial<SendMessageBatchRequestEntry>[]) {
    return this.client.send(new SendMessageBatchCommand({ QueueUrl, Entries: Entries as SendMessageBatchRequestEntry[] }));
  }

  async receive(QueueUrl: string, more: Partial<ReceiveMessageCommandInput> = {}): Promise<Message[]> {
    return (await this.client.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, ...more }))).Messages ?? [];
  }

  /** The one message that is there. */
  async receiveOne(queueUrl: string, more: Partial<ReceiveMessageCommandInput> = {}): Promise<Message> {
    const messages = await this.receive(queueUrl, { MessageSystemAttributeNames: ['All'], MessageAttributeNames: ['All'], ...more });
    assert.equal(messages.length, 1, `${messages.length} messages were received`);
    return messages[0]!;
  }

  async bodies(queueUrl: string, more: Partial<ReceiveMessageCommandInput> = {}): Promise<(string | undefined)[]> {
    return (await this.receive(queueUrl, more)).map(({ Body }) => Body);
  }

  delete(QueueUrl: string, ReceiptHandle: string | undefined): Promise<unknown> {
    return this.client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
  }

  changeVisibility(QueueUrl: string, ReceiptHandle: string | undefined, VisibilityTimeout: number): Promise<unknown> {
    return this.client.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout }));
  }

  async attributes(QueueUrl: string, ...AttributeNames: QueueAttributeName[]): Promise<Partial<Record<string, string>>> {
    return (await this.client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames }))).Attributes ?? {};
  }

  /** Lets time pass for the endpoint. */
  advance(seconds: number): void {
    this.#endpoint.advance(seconds * 1000);
  }

  /** An endpoint whose queues can have so few messages in flight. */
  async limited<T>(maxInFlight: number, work: (bench: Bench) => Promise<T>): Promise<T> {
    const endpoint = await QueueEndpoint.start({ maxInFlight });
    const bench = new Bench(endpoint);
    try {
      return await work(bench);
    } finally {
      bench.close();
      await endpoint.stop();
    }
  }

  /** A request of the JSON protocol. */
  post(target: string, body: string): Promise<Answer> {
    return this.#fetch('/', { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': target }, body);
  }

  /** A request of the query protocol. */
  query(parameters: Record<string, string>, path = '/'): Promise<Answer> {
    const form = new URLSearchParams({ Version: '2012-11-05', ...parameters }).toString();
    return this.#fetch(path, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8', 'authorization': SIGNATURE }, form);
  }

  async #fetch(path: string, headers: Record<string, string>, body: string): Promise<Answer> {
    const response = await fetch(new URL(path, this.url), { method: 'POST', headers, body });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }
}

/** A standard queue with these messages. */
export async function queueWith(bench: Bench, ...bodies: string[]): Promise<string> {
  const url = await bench.queue();
  for (const body of bodies) await bench.send(url, body);
  return url;
}

/** The request is refused with this error; its message may be looked at too. */
export async function refused(request: Promise<unknown>, name: string, message = /./s): Promise<void> {
  const error = await request.then(() => undefined, (reason: unknown) => reason as Error);
  assert.ok(error, `was not refused with ${name}`);
  assert.equal(error.name, name, error.message);
  assert.match(error.message, message);
}

/** One entry of a batch failed, with this code. */
export function failed(entries: readonly BatchResultErrorEntry[] | undefined, id: string, code: string): void {
  assert.deepEqual(entries?.map(({ Id, Code, SenderFault }) => [Id, Code, SenderFault]), [[id, code, true]]);
}

/** The text of an element of XML. */
export function element({ text }: Answer, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1];
}
