import { invalid } from './errors.ts';
import { compileFilter } from './filter.ts';
import type { Filter, FilterScope } from './filter.ts';

/** The attributes of a subscription, as Subscribe and SetSubscriptionAttributes take them. */
export type SubscriptionAttributes = Readonly<Record<string, string>>;

const ALL: Filter = () => true;

/** A queue or a function that gets the messages of a topic. */
export class Subscription {
  readonly arn: string;
  readonly topicArn: string;
  readonly protocol: string;
  readonly endpoint: string;
  #attributes: SubscriptionAttributes = {};
  #filter: Filter = ALL;

  constructor(at: Pick<Subscription, 'arn' | 'topicArn' | 'protocol' | 'endpoint'>, attributes: SubscriptionAttributes) {
    this.arn = at.arn;
    this.topicArn = at.topicArn;
    this.protocol = at.protocol;
    this.endpoint = at.endpoint;
    this.set(attributes);
  }

  get attributes(): SubscriptionAttributes { return this.#attributes; }
  get raw(): boolean { return this.protocol === 'sqs' && this.#attributes.RawMessageDelivery === 'true'; }
  get accepts(): Filter { return this.#filter; }

  get deadLetterArn(): string | undefined {
    const policy = this.#attributes.RedrivePolicy;
    return policy === undefined ? undefined : (JSON.parse(policy) as { deadLetterTargetArn?: string }).deadLetterTargetArn;
  }

  /** @throws AwsError if one of them is not valid; then nothing is changed */
  set(changes: SubscriptionAttributes): void {
    const attributes = Object.fromEntries(Object.entries({ ...this.#attributes, ...changes }).filter(([, value]) => value !== ''));
    const { FilterPolicy: policy, FilterPolicyScope: scope = 'MessageAttributes', RedrivePolicy: redrive } = attributes;
    if (scope !== 'MessageAttributes' && scope !== 'MessageBody') throw invalid(`FilterPolicyScope: Invalid value [${scope}]`);
    if (redrive !== undefined && !isRedrivePolicy(redrive)) throw invalid('RedrivePolicy: it must be a JSON object with the text deadLetterTargetArn');
    this.#filter = policy === undefined ? ALL : compileFilter(policy, scope satisfies FilterScope);
    this.#attributes = attributes;
  }
}

function isRedrivePolicy(text: string): boolean {
  try {
    return typeof (JSON.parse(text) as { deadLetterTargetArn?: unknown } | null)?.deadLetterTargetArn === 'string';
  } catch {
    return false;
  }
}
