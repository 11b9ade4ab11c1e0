import type { Assembly } from './assembly/assembly.ts';
import type { Model } from './assembly/model.ts';
import type { ResourceType, WithoutMeaning } from './assembly/types.ts';
import type { Log } from './log.ts';
import type { Workloads } from './processes/workloads.ts';

/**
 * One service of AWS, or the part of it that runs on this machine. It is a folder of its own with one class, and one line in `services.ts`.
 * The constructor gets a `RunContext` and the services that it needs. Then `start` and `make` are called once each, and `stop` at the end.
 */
export interface LocalService {
  /** Its name in `--port NAME=PORT` and in the addresses of the run. */
  readonly name: string;
  /** Its name on the screen when it stops, such as `queues`. */
  readonly title: string;
  /** The resource types that it makes, each with the values that `Ref` and `Fn::GetAtt` have for it. */
  readonly types: Readonly<Record<string, ResourceType>>;
  /** The resource types that have no meaning on one machine, by reason. @default - none */
  readonly withoutMeaning?: WithoutMeaning;
  /**
   * The name of a progress step of its own, for a service that takes long to start. Then it is started only if the stacks have a resource
   * of its types. @default - it is part of the step `endpoints`, and always started
   */
  readonly step?: string;
  /** The address where it listens, if clients of AWS can call it. @default - none */
  readonly url?: string;
  /**
   * Brings up everything that has an address. Addresses of other services may not be known yet. Returns a few words for the screen.
   * EventBridge is the exception: it listens at the end of its `make`, since an event that comes before the rules would match none of them.
   * Only services that are made later can call it.
   */
  start(model: Model): Promise<string | undefined>;
  /** Makes the resources of the stacks, when all addresses are known. Returns a few words for the screen. @default - nothing to make */
  make?(model: Model): Promise<string | undefined>;
  /** The variables that a workload gets instead of, or beside, the `given` ones of its template. @default - none */
  environment?(given: Readonly<Record<string, string>>): Record<string, string>;
  /**
   * The receiver of messages for the resource with this ARN. A service that sends asks with every message, so the answer should be quick.
   * @default - none of its resources takes messages
   */
  receiver?(arn: string): Receiver | undefined;
  stop(): Promise<void>;
}

/** Takes the messages that one service of AWS sends to a resource of another, such as those of a rule for a queue. */
export interface Receiver {
  /** Throws a `DeliveryError` when the resource refuses the message. */
  deliver(body: string, sender: Sender, options?: DeliveryOptions): Promise<void>;
}

/** The service that sends, as policies see it. */
export interface Sender {
  /** Such as `events.amazonaws.com`. */
  readonly service: string;
  /** ARN of the rule, the topic, or the schedule. */
  readonly sourceArn: string;
  readonly sourceAccount: string;
  /** It sends with a role of the account. Then the policy of a resource does not have to name it, but can deny it. @default false */
  readonly byRole?: boolean;
}

export interface DeliveryOptions {
  readonly messageGroupId?: string;
  /** The id of FIFO queues and topics. @default - made of the content, if the queue or topic has ContentBasedDeduplication */
  readonly messageDeduplicationId?: string;
  /** A text is an attribute of the type String. */
  readonly messageAttributes?: Readonly<Record<string, string | MessageAttribute>>;
}

/** An attribute of a message, as it travels in JSON: a binary value is base64. */
export interface MessageAttribute {
  readonly DataType: string;
  readonly StringValue?: string;
  readonly BinaryValue?: string;
}

/** A message that a resource refuses. EventBridge writes `code` on the dead letter. */
export class DeliveryError extends Error {
  override readonly name = 'DeliveryError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** The time at which the replica of a database gets a transaction: before it is committed, or after. */
export type Replication = 'asynchronous' | 'synchronous';

/** The parts of the run that a service gets. */
export interface RunContext {
  readonly account: string;
  readonly region: string;
  readonly assembly: Assembly;
  /** The folder of everything that outlives the run. */
  readonly dataDir: string;
  readonly logDir: string;
  /** Earlier data has to go. */
  readonly fresh: boolean;
  /** Programs that ask for tokens let everybody in. */
  readonly open: boolean;
  /** The names of workloads, jobs and services that the user leaves out. */
  readonly without: readonly string[];
  readonly replication: Replication;
  readonly log: Log;
  /** The programs of the run. A service adds those of its resources in `make`. */
  readonly workloads: Workloads;
  /**
   * The addresses of services that run outside this run, by the name that the SDK has for them in `AWS_ENDPOINT_URL_<SERVICE>`, in lower
   * case.
   */
  readonly otherEndpoints: Readonly<Record<string, string>>;
  /** The port that the user gave to this name, checked to be free; 0, which lets the system choose, without one. */
  port(name: string): Promise<number>;
  /** Shows one sentence about a resource that is left out, or that is different from AWS. Before the workloads start. */
  warn(sentence: string): void;
  /** Shows one sentence about something that has happened in the run and would not in AWS. */
  report(sentence: string): void;
  /** The receiver of messages for the resource with this ARN, among all services. */
  receiver(arn: string): Receiver | undefined;
  /** Counts resources that have no meaning on one machine. */
  leaveOut(reason: string, count?: number): void;
}

/** Makes a service for one run. */
export type LocalServiceFactory = (context: RunContext) => LocalService;
