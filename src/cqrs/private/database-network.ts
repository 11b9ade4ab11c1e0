import { Stack, Token } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import type * as iam from 'aws-cdk-lib/aws-iam';
import { Construct, IConstruct } from 'constructs';
import type { ICqrsDatabase } from '../cqrs-database';

/** The ports that a database is reached on. */
export function portsOf(database: ICqrsDatabase): number[] {
  return [...new Set([database.writerEndpoint.port, database.readerEndpoint.port])];
}

/**
 * Opens the ports of a database to a client.
 *
 * @param client from where it connects
 * @param grantee who it is, if that is known
 */
export function openDatabase(database: ICqrsDatabase, client: ec2.IConnectable, grantee?: iam.IGrantable): void {
  for (const port of portsOf(database).map(portOf)) {
    if (needsRuleOfItsOwn(database, client, grantee)) {
      allowFromElsewhere(database, client, port);
    } else {
      database.connections.allowFrom(client, port);
    }
  }
}

/**
 * Whether the rule has to stand in the stack of the client.
 *
 * A client needs the stack of the database for its environment. If its security group is in its own stack, as that of a function, a rule
 * beside the database would need that stack in turn. One that only runs on the security group of a platform, as a pod does, has the rule
 * beside the database: the stack of the platform must not need the one of the database.
 */
function needsRuleOfItsOwn(database: ICqrsDatabase, client: ec2.IConnectable, grantee?: iam.IGrantable): boolean {
  const user = [grantee, grantee?.grantPrincipal, client].find((one): one is typeof one & IConstruct => Construct.isConstruct(one));
  if (!user) { return false; }
  const stack = Stack.of(user);
  const here = ({ connections }: ec2.IConnectable) => connections.securityGroups.some((group) => Stack.of(group) === stack);
  return here(client) && !here(database);
}

/** With the rules in the stack of the client, which is what `remoteRule` means. `allowTo()` would warn of rules that nobody asked for. */
function allowFromElsewhere(database: ICqrsDatabase, client: ec2.IConnectable, port: ec2.Port): void {
  for (const group of database.connections.securityGroups) {
    for (const peer of client.connections.securityGroups) {
      group.addIngressRule(peer, port, undefined, true);
      peer.addEgressRule(group, port, undefined, true);
    }
  }
}

/** A TCP port. Those that are only known at deployment all have the same name in the core, which then drops the second rule. */
function portOf(port: number, index: number): ec2.Port {
  return Token.isUnresolved(port) && index > 0
    ? new ec2.Port({ protocol: ec2.Protocol.TCP, fromPort: port, toPort: port, stringRepresentation: '{IndirectReaderPort}' })
    : ec2.Port.tcp(port);
}
