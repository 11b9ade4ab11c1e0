/** A program that the local run starts, in a folder with an environment, as a template describes it. */
export interface ContainerSpec {
  readonly name: string;
  readonly command: readonly string[];
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  /** The first is the one that `PORT` names. */
  readonly ports: readonly ContainerPort[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  /** Advice for a program that ends because a file of it is missing, in one sentence. @default - there is none */
  readonly hint?: string;
  /** Makes the supervisor of one replica. @default - the probes say whether it is ready */
  readonly supervise?: () => Supervisor;
}

/** Serves one program on behalf of a service, such as the Runtime API of a function, and knows more about it than its probes. */
export interface Supervisor {
  /** Called before each start of the program. Returns variables for it. */
  begin(life: Life): Promise<Readonly<Record<string, string>>>;
  /** Called when the program has ended. */
  ended(): void;
  /** Lets the work in hand end, before the program is stopped. */
  drain(): Promise<void>;
}

/** One start of a program, as its supervisor sees it. */
export interface Life {
  /** The program can work. */
  ready(): void;
  /** The program cannot work, as the sentence says. It may still be started again. */
  failed(sentence: string): void;
  /** Writes a line into the log file of the program. */
  write(line: string): void;
  /** Ends the program at once. This is no crash. */
  end(): void;
}

export interface ContainerPort {
  readonly name?: string;
  readonly port: number;
}

export interface Probe {
  readonly kind: 'http' | 'tcp';
  readonly path: string;
  /** Number or name of a container port. */
  readonly port: string | number;
  readonly initialDelaySeconds: number;
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
}

export interface PodSpec {
  readonly initContainers: readonly ContainerSpec[];
  readonly containers: readonly ContainerSpec[];
  readonly terminationGracePeriodSeconds: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface WorkloadSpec {
  readonly kind: 'Deployment' | 'StatefulSet' | 'Function';
  readonly name: string;
  /** The path of its construct in the app, by which the user may call it, too. @default - only by its name */
  readonly path?: string;
  readonly replicas: number;
  readonly pod: PodSpec;
  /** The URLs of the queues that call it. @default - those in the variables of its containers */
  readonly reads?: readonly string[];
}

export interface JobSpec {
  readonly name: string;
  readonly pod: PodSpec;
  readonly backoffLimit: number;
  readonly deadlineSeconds: number | undefined;
}

export interface ServiceSpec {
  readonly name: string;
  readonly namespace: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: readonly { readonly name?: string; readonly port: number; readonly targetPort: string | number }[];
}
