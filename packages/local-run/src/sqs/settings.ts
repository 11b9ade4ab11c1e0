import { changed, completed, json } from './attributes.ts';
import type { Attributes } from './attributes.ts';

/** The numbers among the attributes. */
export interface QueueNumbers {
  readonly delaySeconds: number;
  readonly maximumMessageSize: number;
  readonly retentionMs: number;
  readonly waitSeconds: number;
  readonly visibilitySeconds: number;
  /** Infinity without a dead-letter queue. */
  readonly maxReceiveCount: number;
}

/** The attributes of a queue that can be set, read once and not at every message. */
export class Settings {
  readonly createdAt: number;
  modifiedAt: number;
  attributes: Attributes;
  numbers: QueueNumbers;
  deadLetterArn: string | undefined;

  constructor(attributes: Attributes, now: number) {
    this.createdAt = this.modifiedAt = now;
    this.attributes = completed(attributes);
    this.numbers = this.#read();
  }

  change(change: Attributes, now: number): void {
    this.attributes = changed(this.attributes, change);
    this.numbers = this.#read();
    this.modifiedAt = now;
  }

  #read(): QueueNumbers {
    const number = (name: string) => Number(this.attributes[name]);
    const redrive = json(this.attributes.RedrivePolicy ?? '');
    this.deadLetterArn = redrive && String(redrive.deadLetterTargetArn);
    return {
      delaySeconds: number('DelaySeconds'),
      maximumMessageSize: number('MaximumMessageSize'),
      retentionMs: number('MessageRetentionPeriod') * 1000,
      waitSeconds: number('ReceiveMessageWaitTimeSeconds'),
      visibilitySeconds: number('VisibilityTimeout'),
      maxReceiveCount: Number(redrive?.maxReceiveCount ?? Infinity),
    };
  }
}
