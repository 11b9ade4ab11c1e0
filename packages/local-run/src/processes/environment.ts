import { LOOPBACK } from './ports.ts';
import type { ContainerSpec } from './specs.ts';

/** Changes and adds variables for a program on this machine, on behalf of one service. */
export type EnvironmentPart = (given: Readonly<Record<string, string>>) => Record<string, string>;

export interface EnvironmentOptions {
  readonly region: string;
  /** The variables of every program whose template does not give them. */
  readonly defaults: Readonly<Record<string, string>>;
  /** One of each service. */
  readonly parts: readonly EnvironmentPart[];
  /** The address for calls that no service of the run takes. */
  readonly otherServices: string;
}

/**
 * The environment of a container on this machine: the one of its template, with the ports that all programs of one machine have to share,
 * and the addresses that stand for AWS.
 */
export function localEnvironment(
  spec: ContainerSpec, ports: ReadonlyMap<number, number>, options: EnvironmentOptions,
): Record<string, string> {
  let environment: Record<string, string> = { ...options.defaults, ...spec.environment };
  for (const part of options.parts) environment = { ...environment, ...part(environment) };
  for (const [name, value] of Object.entries(environment)) environment[name] = withLocalPort(name, value, ports);
  const [first] = spec.ports;
  // A program whose template names no port gets one here. It cannot have that of its image, as its replicas need it, too.
  if (first && environment.PORT === undefined) environment.PORT = String(ports.get(first.port) ?? first.port);
  return { ...environment, HOST: LOOPBACK, ...awsEnvironment(options, environment) };
}

/** The variables that keep every call to AWS on this machine, with credentials that are valid nowhere. */
export function awsEnvironment(
  { region, otherServices }: Pick<EnvironmentOptions, 'region' | 'otherServices'>, given: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return {
    AWS_REGION: given.AWS_REGION ?? region,
    AWS_DEFAULT_REGION: given.AWS_DEFAULT_REGION ?? given.AWS_REGION ?? region,
    // Any other service is asked here, too: a call must not leave the machine, least of all with real credentials.
    AWS_ENDPOINT_URL: otherServices,
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  };
}

/**
 * The same for clients of the caller, whose own variables stay. The SDK for JavaScript would take the credentials of a profile instead, and
 * an empty name is none to it.
 */
export function callersEnvironment(options: Pick<EnvironmentOptions, 'region' | 'otherServices'>): Record<string, string> {
  return { ...awsEnvironment(options), ...(process.env.AWS_PROFILE && { AWS_PROFILE: '' }) };
}

function withLocalPort(name: string, value: string, ports: ReadonlyMap<number, number>): string {
  const local = /PORT$/.test(name) ? ports.get(Number(value)) : undefined;
  return local === undefined ? value : String(local);
}
