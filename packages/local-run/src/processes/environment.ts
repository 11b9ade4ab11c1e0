import { LOOPBACK } from './ports.ts';
import type { ContainerSpec } from './specs.ts';

export interface LocalAddresses {
  readonly region: string;
  readonly endpoints: { readonly sqs: string; readonly eventbridge: string; readonly secretsManager: string };
  /** The port that a database has in its template → the one that it has here. */
  readonly databasePorts: ReadonlyMap<string, number>;
  /** The same for its replica, which has a port of its own here. */
  readonly readerPorts: ReadonlyMap<string, number>;
  /** The Services of the manifests and where their ports are here. */
  readonly services: readonly { readonly name: string; readonly ports: ReadonlyMap<number, number> }[];
}

/**
 * What the outbox relay deletes when it is old. The summary compares all of a run's history, and a data folder may be kept for weeks.
 * Only the relay reads them, so every process may have them.
 */
const KEPT_FOR_EVER = {
  OUTBOX_RETENTION_HOURS: '0', INBOX_RETENTION_HOURS: '0', IDEMPOTENCY_KEY_RETENTION_HOURS: '0', NOTIFICATION_RETENTION_HOURS: '0',
};

/**
 * The environment of a container on this machine: what its template gives, with the ports that all programs of one machine
 * have to share, and the endpoints that stand for AWS.
 */
export function localEnvironment(spec: ContainerSpec, ports: ReadonlyMap<number, number>, local: LocalAddresses): Record<string, string> {
  const environment: Record<string, string> = { ...KEPT_FOR_EVER, ...spec.environment };
  for (const [name, value] of Object.entries(environment)) {
    environment[name] = withLocalPort(name, withDatabasePort(name, withServiceAddress(value, local), local), ports);
  }
  const [first] = spec.ports;
  // A program whose template names no port gets one here: that of its image it cannot have, as its replicas need it, too.
  if (first && environment['PORT'] === undefined) environment['PORT'] = String(ports.get(first.port) ?? first.port);
  for (const service of local.services) {
    // As Kubernetes does for every Service.
    const prefix = service.name.toUpperCase().replace(/[^A-Z0-9]/g, '_');
    const [port] = service.ports.values();
    environment[`${prefix}_SERVICE_HOST`] ??= LOOPBACK;
    if (port !== undefined) environment[`${prefix}_SERVICE_PORT`] ??= String(port);
  }
  return {
    ...environment,
    HOST: LOOPBACK,
    AWS_REGION: environment['AWS_REGION'] ?? local.region,
    AWS_DEFAULT_REGION: environment['AWS_DEFAULT_REGION'] ?? environment['AWS_REGION'] ?? local.region,
    AWS_ENDPOINT_URL_SQS: local.endpoints.sqs,
    AWS_ENDPOINT_URL_EVENTBRIDGE: local.endpoints.eventbridge,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: local.endpoints.secretsManager,
    // Any other service is asked here, too: a call must not leave the machine, least of all with somebody's real credentials.
    AWS_ENDPOINT_URL: local.endpoints.sqs,
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  };
}

function withLocalPort(name: string, value: string, ports: ReadonlyMap<number, number>): string {
  const local = /PORT$/.test(name) ? ports.get(Number(value)) : undefined;
  return local === undefined ? value : String(local);
}

/** `DB_READER_PORT`, `READ_PORT`, `REPLICA_DB_PORT`: of Aurora's endpoints all have the same port, so only the name says whose it is. */
const READER_PORT = /(^|_)(READ|READER|READERS|REPLICA|RO)_(.*_)?PORT$/;

/** A template may state the port of its database as a number; here the server has another one. */
function withDatabasePort(name: string, value: string, { databasePorts, readerPorts }: LocalAddresses): string {
  const local = (READER_PORT.test(name) ? readerPorts.get(value) : undefined) ?? (/PORT$/.test(name) ? databasePorts.get(value) : undefined);
  if (local !== undefined) return String(local);
  return value.replace(/127\.0\.0\.1:(\d+)(?::(\d+))?/g, (whole, first: string, second: string | undefined) => {
    // The replica's address holds its port already, and a socket address has the stated one behind it.
    if (second !== undefined && databasePorts.has(second)) return `${LOOPBACK}:${first}`;
    const port = second === undefined ? databasePorts.get(first) : undefined;
    return port === undefined ? whole : `${LOOPBACK}:${port}`;
  });
}

/** Names of Services resolve in a cluster only. */
function withServiceAddress(value: string, { services }: LocalAddresses): string {
  return value.replace(/\b(https?:\/\/)([a-z0-9-]+)(?:\.[a-z0-9-]+(?:\.svc(?:\.cluster\.local)?)?)?(?::(\d+))?(?=[/?#]|$)/g, (whole, scheme: string, name: string, port: string | undefined) => {
    const service = services.find((candidate) => candidate.name === name);
    const local = service?.ports.get(Number(port ?? (scheme === 'https://' ? 443 : 80)));
    return local === undefined ? whole : `${scheme}${LOOPBACK}:${local}`;
  });
}
