import type { LocalEventBridge } from './eventbridge/types.ts';
import type { TokenRequest } from './issuer/token-issuer.ts';
import type { Log } from './log.ts';
import type { DatabaseAddress } from './rds/address.ts';
import type { Failover } from './rds/failover.ts';
import type { LocalServiceFactory, Replication } from './service.ts';
import type { QueueDepth } from './sqs/endpoint.ts';

/** Options of `startLocal`. */
export interface LocalRunOptions {
  /** The output folder of `cdk synth`. */
  readonly assemblyDir: string;
  /** The names of the stacks that run, with those they depend on. @default - all stacks */
  readonly stacks?: readonly string[];
  /**
   * The values of parameters of the templates, by `NAME` for every stack that has it, or by `STACK:NAME` for one stack.
   * @default - the default values of the templates
   */
  readonly parameters?: Readonly<Record<string, string>>;
  /**
   * The folder of databases, queues, archives, secrets and logs. Only its owner can read it.
   * @default - a temporary folder, which is deleted when the run stops
   */
  readonly dataDir?: string;
  /** Deletes the data of earlier runs first. @default false */
  readonly fresh?: boolean;
  /**
   * The replication of the databases. With `synchronous`, a transaction is committed when the replica has it, too, so that a failover loses
   * none. Aurora loses none in any case, as its instances share their storage. With `asynchronous`, commits do not wait, and a failover can
   * lose the last ones.
   * @default 'asynchronous'
   */
  readonly replication?: Replication;
  /** The largest number of processes of each workload. @default - as many as its template has at least */
  readonly maxReplicas?: number;
  /**
   * A file in the images of the app that hosts several of its programs in one process, such as `several.js`. It gets the variable
   * `SHARED_PROGRAMS`: a list in JSON of `{ program, environment }`, the file of each program and its variables. It has to start all of
   * them, to end when one of them breaks, and to stop all on SIGTERM.
   *
   * Deployments with one replica and one container that runs `node FILE.js` beside that file, and with no Kubernetes Service, share a
   * process: it needs less processor and memory than one for each. When it ends or is killed, all of them are started again.
   * @default - each workload has its own processes
   */
  readonly sharedProcess?: string;
  /**
   * Programs that ask for tokens (API_AUTHORIZATION=jwt) take every request, with or without one. Otherwise they take the tokens of
   * `LocalRun.issuer`.
   * @default false
   */
  readonly open?: boolean;
  /**
   * The names of workloads and jobs that do not run. With `issuer`, programs take tokens of the issuer that their template names.
   * @default - all run
   */
  readonly without?: readonly string[];
  /** The variables of every workload whose template does not give them. @default - none */
  readonly environment?: Readonly<Record<string, string>>;
  /**
   * The addresses of services that run outside this run, by the name that the SDK has for them in `AWS_ENDPOINT_URL_<SERVICE>`, such as
   * `{ dynamodb: 'http://127.0.0.1:8000' }`.
   * @default - none; calls to other services are refused
   */
  readonly otherEndpoints?: Readonly<Record<string, string>>;
  /** Services beside the built-in ones. @default - none */
  readonly services?: readonly LocalServiceFactory[];
  /** The folder for CPU profiles of the Node.js processes. @default - no CPU profiles */
  readonly cpuProfileDir?: string;
  /**
   * Ports by name: `sqs`, `sns`, `eventbridge`, `secretsmanager`, `cloudwatch`, `issuer`, `writer`, `reader`, or a Kubernetes Service. With
   * 0 the system chooses.
   * @default - the system chooses
   */
  readonly ports?: Readonly<Record<string, number>>;
  readonly onProgress?: (step: ProgressStep) => void;
  /** Gets every record of the log of the run. @default - they are in the file `logs/local-run.log` only */
  readonly log?: Log;
  /** Called when a workload cannot run, or keeps ending, with a sentence that says why; once until it runs again. */
  readonly onFailure?: (sentence: string) => void;
  /** Called when such a workload runs again. */
  readonly onRecovery?: (sentence: string) => void;
  /** Called with a sentence when something has happened that would not in AWS, such as a call to a service that this run does not have. */
  readonly onWarning?: (sentence: string) => void;
  /** Gives up a start that is under way. Everything that was started is stopped. */
  readonly signal?: AbortSignal;
}

/** Stands in for the issuers of the tokens that programs ask for (API_AUTHORIZATION=jwt, API_JWT_ISSUER, API_JWT_AUDIENCE). */
export interface LocalTokenIssuer {
  /** Its address, with `/token` and `/jwks.json`. Undefined when no program asks for tokens. */
  readonly url: string | undefined;
  /** @throws LocalRunError when no program asks for tokens, and `issuer` and `audience` are not given */
  token(request: TokenRequest): Promise<string>;
  /** Signs with a new key from now on. Tokens of former keys stay good, unless those are to be forgotten. */
  rotate(forgetFormer?: boolean): Promise<void>;
}

/** A step of the start or of the stop. */
export interface ProgressStep {
  readonly name: string;
  readonly state: 'started' | 'done' | 'failed';
  /** Its time in milliseconds. */
  readonly ms?: number;
  /** Its result in a few words. */
  readonly detail?: string;
}

/** A Deployment, a StatefulSet or a function, with its processes. */
export interface LocalWorkload {
  readonly name: string;
  readonly kind: 'Deployment' | 'StatefulSet' | 'Function';
  /** The number of its processes. */
  readonly replicas: number;
  /** The addresses where it takes requests, if a Kubernetes Service stands before it. */
  readonly urls: readonly string[];
  readonly logFiles: readonly string[];
  /** The variables of its containers in the template. */
  readonly environment: Readonly<Record<string, string>>;
  /**
   * The addresses of its processes where they answer their probes, and usually show their metrics, without the Service before them.
   * Restarted processes get others.
   */
  processUrls(): string[];
  pids(): number[];
  ready(): boolean;
  restarts(): number;
}

export interface LocalQueue {
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  readonly maxReceiveCount?: number;
  readonly deadLetterQueueUrl?: string;
  /** The names of the queues whose dead letters come here. */
  readonly deadLettersOf: readonly string[];
  /** It gets the messages that a queue, a function, a rule, a subscription or a schedule could not handle. */
  readonly takesDeadLetters: boolean;
  /** The name of the workload that reads it. */
  readonly consumer?: string;
  /** The function that reads it in AWS, if that one does not run here. Its messages wait. */
  readonly waitsFor?: string;
  /** The name of the rule that fills it. */
  readonly rule?: string;
  depth(): QueueDepth;
  /** The bodies of all its messages, those in flight too. They count as not received. */
  messages(): string[];
}

export interface LocalRule {
  readonly name: string;
  readonly busName: string;
  readonly arn: string;
  readonly targetArns: readonly string[];
}

/** A schedule, or a rule that has one. */
export interface LocalSchedule {
  readonly name: string;
  readonly arn: string;
  /** Such as `rate(5 minutes)`. */
  readonly expression: string;
  /** The next time at which it fires; undefined when there is none, or it is disabled. */
  next(): Date | undefined;
  /** Invokes its targets now, beside its times. Resolves when they have the message. */
  fire(): Promise<void>;
}

/** An alarm on metrics that programs of the run send. */
export interface LocalAlarm {
  readonly name: string;
  state(): 'INSUFFICIENT_DATA' | 'OK' | 'ALARM';
}

/** A run of the stacks on this machine. */
export interface LocalRun {
  readonly workloads: readonly LocalWorkload[];
  /** The names of the jobs that have run to their end. */
  readonly jobs: readonly string[];
  /** The addresses of the services, by name. */
  readonly endpoints: {
    readonly sqs: string;
    readonly eventbridge: string;
    readonly secretsmanager: string;
    readonly [service: string]: string;
  };
  /** The variables with which the clients of an SDK call this run, such as `AWS_ENDPOINT_URL_SQS`. */
  readonly environment: Readonly<Record<string, string>>;
  /** The first database of the assembly, as its superuser; undefined when it has none. */
  readonly database?: {
    readonly writer: DatabaseAddress;
    readonly reader?: DatabaseAddress;
    readonly passwordFile: string;
    pids(): number[];
  };
  readonly queues: readonly LocalQueue[];
  readonly buses: readonly { readonly name: string; readonly arn: string }[];
  readonly rules: readonly LocalRule[];
  readonly schedules: readonly LocalSchedule[];
  readonly alarms: readonly LocalAlarm[];
  readonly eventBridge: LocalEventBridge;
  readonly issuer: LocalTokenIssuer;
  readonly region: string;
  readonly account: string;
  /** Everything that is left out, or is different from AWS, in a sentence each. */
  readonly warnings: readonly string[];
  /** The number of resources and Kubernetes objects that have no meaning on one machine, by reason. */
  readonly withoutMeaning: ReadonlyMap<string, number>;
  readonly dataDir: string;
  readonly logDir: string;
  /** The workloads that cannot run at the moment, or keep ending, in a sentence each. */
  failures(): readonly string[];
  pauseReplica(): Promise<void>;
  resumeReplica(): Promise<void>;
  /**
   * Kills the writer of the first database and promotes its replica, which takes the address of the writer: a failover as in Aurora. All
   * connections break. Until a new replica is built, the address of the reader leads to the writer, too. Data of the former writer that the
   * replica had not received are lost, unless `replication` is `synchronous`.
   *
   * @throws LocalRunError when there is no replica
   */
  failover(): Promise<Failover>;
  /**
   * Deploys another version of the programs in containers, as a deployment of its stacks does: runs the jobs that have changed, such as a
   * migration, and then replaces the workloads that have changed one by one, each by a rolling update. Functions and resources stay as they
   * are; a warning names those that the new version changes. Returns the names of the jobs that ran and of the workloads that are new.
   *
   * @param assemblyDir the output folder of `cdk synth` of the other version
   * @throws LocalRunError when a job fails or a workload does not get ready: it keeps its version, and so do those after it
   */
  deploy(assemblyDir: string, signal?: AbortSignal): Promise<{ readonly jobs: string[]; readonly workloads: string[] }>;
  /** No message, event or retry waits for a workload that runs. Messages that only other programs read do not count. */
  idle(): boolean;
  /** Signals one process of a workload, and returns its id. @default SIGKILL, the first replica */
  kill(workload: string, signal?: NodeJS.Signals, replica?: number): number;
  /** Stops everything in order. No process of the run is left when it has returned. */
  stop(): Promise<void>;
}
