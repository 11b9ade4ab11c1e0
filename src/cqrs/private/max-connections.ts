import { Token } from 'aws-cdk-lib';
import type * as ec2 from 'aws-cdk-lib/aws-ec2';

/** The greatest default of `max_connections`. */
const MOST = 5000;

/** The greatest default of `max_connections` of serverless instances whose least capacity is 0 or 0.5. */
const MOST_OF_SMALL = 2000;

/**
 * Returns the default of `max_connections` of serverless instances: 189 for a greatest capacity of 1, 823 for 4, 1,669 for 8, and 3,360 for
 * 16. It is linear between them, and undefined if the capacity is only known at deployment.
 *
 * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
 */
export function maxConnectionsOfCapacity({ min, max }: { min: number; max: number }): number | undefined {
  if (Token.isUnresolved(min) || Token.isUnresolved(max)) { return undefined; }
  return Math.min(Math.round(189 + (max - 1) * (3360 - 189) / 15), min < 1 ? MOST_OF_SMALL : MOST);
}

/** Memory in GiB per virtual CPU of the families that Aurora PostgreSQL has, except T. */
const MEMORY_PER_CPU: { [family: string]: number } = { r: 8, x: 16 };

/** Memory in GiB of the T classes that Aurora PostgreSQL has. */
const MEMORY_OF_T: { [size: string]: number } = { medium: 4, large: 8 };

/**
 * Returns the default of `max_connections` of an instance type: memory in units of 9,531,392 bytes, at most 5,000. It is undefined for a
 * type whose memory isn't known here.
 *
 * @see https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraPostgreSQL.Managing.html
 */
export function maxConnectionsOfClass(instanceType: ec2.InstanceType): number | undefined {
  const [, family, size] = /^([a-z])[^.]*\.(\w+)$/.exec(instanceType.toString()) ?? [];
  if (!family || !size) { return undefined; }
  const perCpu = MEMORY_PER_CPU[family];
  const cpus = cpusOf(size);
  const memory = family === 't' ? MEMORY_OF_T[size] : perCpu && cpus && perCpu * cpus;
  return memory ? Math.min(Math.floor(memory * 1e9 / 9531392), MOST) : undefined;
}

function cpusOf(size: string): number | undefined {
  if (size === 'large') { return 2; }
  const [, times] = /^(\d*)xlarge$/.exec(size) ?? [];
  return times === undefined ? undefined : 4 * Number(times || 1);
}
