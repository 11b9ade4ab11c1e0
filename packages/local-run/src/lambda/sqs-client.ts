import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { codeOf } from '../errors.ts';

export interface MessageAttribute {
  readonly DataType: string;
  readonly StringValue?: string;
  /** In base64. */
  readonly BinaryValue?: string;
}

/** A message as SQS gives it out in its JSON protocol. */
export interface Message {
  readonly MessageId: string;
  readonly ReceiptHandle: string;
  readonly Body: string;
  readonly MD5OfBody?: string;
  readonly MD5OfMessageAttributes?: string;
  readonly Attributes?: Readonly<Record<string, string>>;
  readonly MessageAttributes?: Readonly<Record<string, MessageAttribute>>;
}

/** The few calls to SQS that the polls of a function need. The package brings no SDK for them. */
export class SqsClient {
  readonly #url: URL;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(url: string) {
    this.#url = new URL(url);
  }

  async receive(queueUrl: string, most: number, waitSeconds: number, signal: AbortSignal): Promise<Message[]> {
    const { Messages } = await this.#call('ReceiveMessage', {
      QueueUrl: queueUrl,
      MaxNumberOfMessages: Math.min(10, most),
      WaitTimeSeconds: waitSeconds,
      MessageSystemAttributeNames: ['All'],
      MessageAttributeNames: ['All'],
    }, signal) as { Messages?: Message[] };
    return Messages ?? [];
  }

  async remove(queueUrl: string, messages: readonly Message[]): Promise<void> {
    for (let start = 0; start < messages.length; start += 10) {
      await this.#call('DeleteMessageBatch', {
        QueueUrl: queueUrl,
        Entries: messages.slice(start, start + 10).map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle })),
      });
    }
  }

  async hide(queueUrl: string, { ReceiptHandle }: Message, seconds: number): Promise<void> {
    await this.#call('ChangeMessageVisibility', { QueueUrl: queueUrl, ReceiptHandle, VisibilityTimeout: seconds });
  }

  async send(queueUrl: string, body: string, attributes: Readonly<Record<string, MessageAttribute>> = {}): Promise<void> {
    await this.#call('SendMessage', { QueueUrl: queueUrl, MessageBody: body, MessageAttributes: attributes });
  }

  close(): void {
    this.#agent.destroy();
  }

  async #call(action: string, input: object, signal?: AbortSignal): Promise<unknown> {
    const body = JSON.stringify(input);
    try {
      return await this.#post(action, body, signal);
    } catch (error) {
      // The server may close a connection at the moment in which it is used again. To receive twice would hide messages.
      if (action === 'ReceiveMessage' || !['ECONNRESET', 'EPIPE'].includes(codeOf(error) ?? '')) throw error;
      return this.#post(action, body, signal);
    }
  }

  #post(action: string, body: string, signal: AbortSignal | undefined): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const outgoing = request(this.#url, {
        method: 'POST',
        agent: this.#agent,
        ...(signal && { signal }),
        headers: { 'content-type': 'application/x-amz-json-1.0', 'content-length': Buffer.byteLength(body), 'x-amz-target': `AmazonSQS.${action}` },
      }, (response) => {
        text(response).then((answer) => {
          if (response.statusCode === 200) resolve(answer === '' ? {} : JSON.parse(answer));
          else reject(new Error(`SQS refused ${action}: ${answer}`));
        }).catch(reject);
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
}
