import { Stack, Token } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import { Construct, IConstruct } from 'constructs';
import type { ICqrsDatabase } from '../cqrs-database';

/** Returns the ports of a database. */
export function portsOf(database: ICqrsDatabase): number[] {
  return [...new Set([database.writerEndpoint.port, database.readerEndpoint.port])];
}

/** Returns the blocks of addresses of these subnets; undefined if one is unknown. A VPC can have more blocks than the known one. */
export function blocksOf(vpc: ec2.IVpc, selection: ec2.SubnetSelection): string[] | undefined {
  try {
    return [...new Set(vpc.selectSubnets(selection).subnets.map(({ ipv4CidrBlock }) => ipv4CidrBlock))];
  } catch {
    // An imported subnet throws an error for a block that it was not given.
    return undefined;
  }
}

/**
 * Opens the ports of a database to a client.
 *
 * @param client the connections of the client
 * @param grantee the identity of the client, if it is known
 */
export function openDatabase(database: ICqrsDatabase, client: ec2.IConnectable, grantee?: iam.IGrantable): void {
  for (const port of portsOf(database).map(portOf)) {
    if (needsRuleOfItsOwn(database, client, grantee)) {
      allowInStackOf(client, database, port);
    } else {
      database.connections.allowFrom(client, port);
    }
  }
}

/**
 * Returns whether the rule has to be in the stack of the client.
 *
 * A client needs the stack of the database for its environment. If its security group is in its own stack, like that of a function, a rule
 * in the stack of the database would need that stack in turn. For a client with the security group of a platform, such as a pod, the rule
 * is in the stack of the database: the stack of the platform must not need it.
 */
function needsRuleOfItsOwn(database: ICqrsDatabase, client: ec2.IConnectable, grantee?: iam.IGrantable): boolean {
  const user = [grantee, grantee?.grantPrincipal, client].find((one): one is typeof one & IConstruct => Construct.isConstruct(one));
  if (!user) { return false; }
  const stack = Stack.of(user);
  const here = ({ connections }: ec2.IConnectable) => connections.securityGroups.some((group) => Stack.of(group) === stack);
  return here(client) && !here(database);
}

/** Opens a port of a server with rules in the stack of the client, so that the stack of the server does not need it. */
export function allowInStackOf(client: ec2.IConnectable, server: ec2.IConnectable, port: ec2.Port, description?: string): void {
  for (const group of server.connections.securityGroups) {
    for (const peer of client.connections.securityGroups) {
      group.addIngressRule(peer, port, description, true);
      // The core would warn of a rule that is not needed.
      if (!peer.allowAllOutbound) { peer.addEgressRule(group, port, description); }
    }
  }
}

/** Returns a TCP port. In the core, all ports that are only known at deployment have the same name, so it would drop the second rule. */
function portOf(port: number, index: number): ec2.Port {
  return Token.isUnresolved(port) && index > 0
    ? new ec2.Port({ protocol: ec2.Protocol.TCP, fromPort: port, toPort: port, stringRepresentation: '{IndirectReaderPort}' })
    : ec2.Port.tcp(port);
}
