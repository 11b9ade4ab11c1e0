import { Duration } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import { allowInStackOf } from './database-network';
import { invalid, requireDuration } from '../../private/validation';
import type { PasswordRotationOptions } from '../cqrs-credentials';

/** The network of a database whose passwords are rotated. */
export interface RotatedDatabase extends ec2.IConnectable {
  readonly vpc: ec2.IVpc;
  readonly vpcSubnets: ec2.SubnetSelection;
}

/** Rotates secrets, with a function each. */
export class PasswordRotation {
  /** The security group of the functions. */
  public readonly securityGroup: ec2.SecurityGroup;

  private readonly vpc: ec2.IVpc;
  private readonly vpcSubnets: ec2.SubnetSelection;
  private readonly interval: Duration;

  constructor(scope: Construct, database: RotatedDatabase, options: PasswordRotationOptions) {
    requireDuration(scope, 'interval', options.interval, Duration.days(1), Duration.days(1000));
    this.interval = options.interval ?? Duration.days(30);
    this.vpc = database.vpc;
    this.securityGroup = new ec2.SecurityGroup(scope, 'RotationSecurityGroup', {
      vpc: this.vpc,
      description: 'Functions that rotate the passwords of a database',
      allowAllOutbound: false,
    });
    database.connections.allowDefaultPortFrom(this.securityGroup, 'Rotation of the passwords');
    const endpoint = options.secretsManagerEndpoint;
    if (endpoint?.connections.securityGroups.length) {
      // The endpoint is often in the stack of the VPC, which this stack needs.
      allowInStackOf(this.securityGroup, endpoint, endpoint.connections.defaultPort ?? ec2.Port.tcp(443), 'Rotation of the passwords');
    } else {
      // The addresses of Secrets Manager are not known.
      this.securityGroup.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443), 'Secrets Manager');
    }
    this.vpcSubnets = subnetsOf(scope, database, options);
  }

  public rotate(secret: secretsmanager.ISecret): void {
    const { vpc, vpcSubnets, securityGroup } = this;
    const schedule = secret.addRotationSchedule('Rotation', {
      hostedRotation: secretsmanager.HostedRotation.postgreSqlSingleUser({ vpc, vpcSubnets, securityGroups: [securityGroup] }),
      automaticallyAfter: this.interval,
      // The roles don't exist before the first migration, so a rotation at the deployment would fail.
      rotateImmediatelyOnUpdate: false,
    });
    // The function finds the database by what the attachment adds to the secret.
    schedule.node.addDependency(...secret.node.children.filter((child) => child instanceof secretsmanager.SecretTargetAttachment));
  }
}

function subnetsOf(scope: Construct, database: RotatedDatabase, options: PasswordRotationOptions): ec2.SubnetSelection {
  if (options.vpcSubnets) { return options.vpcSubnets; }
  if (options.secretsManagerEndpoint) { return database.vpcSubnets; }
  if (database.vpc.privateSubnets.length === 0) {
    throw invalid(scope, 'rotatedPasswords needs a route to Secrets Manager, and vpc has no private subnets with NAT: give secretsManagerEndpoint, '
      + 'such as vpc.addInterfaceEndpoint(\'SecretsManager\', { service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER }), or vpcSubnets '
      + 'with a route of your own');
  }
  return { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS };
}
