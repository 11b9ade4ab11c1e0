import type { RemovalPolicy } from 'aws-cdk-lib';
import type * as kms from 'aws-cdk-lib/aws-kms';
import type * as rds from 'aws-cdk-lib/aws-rds';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import { acknowledge } from '../../private/acknowledge';

export interface RoleSecretProps {
  readonly userName: string;
  readonly description: string;
  readonly cluster: rds.IDatabaseCluster;
  readonly encryptionKey?: kms.IKey;
  readonly removalPolicy: RemovalPolicy;
  readonly rotated: boolean;
}

/** Makes the secret of a database role, with a generated password and with the parts that a rotation needs. */
export function roleSecret(scope: Construct, id: string, props: RoleSecretProps): secretsmanager.Secret {
  const secret = new secretsmanager.Secret(scope, id, {
    description: props.description,
    encryptionKey: props.encryptionKey,
    removalPolicy: props.removalPolicy,
    generateSecretString: {
      generateStringKey: 'password',
      passwordLength: 32,
      excludePunctuation: true,
      // Nothing here may change: CloudFormation generates another password when the template changes.
      secretStringTemplate: JSON.stringify({ username: props.userName }),
    },
  });
  // Adds `engine`, `host`, `port` and `dbname`, which rotation needs. The host is the writer for both roles: a reader can't change a
  // password.
  secret.attach(props.cluster);
  if (!props.rotated) {
    // This is only metadata for cdk-nag.
    acknowledge(secret, 'AwsSolutions::AwsSolutions-SMG4',
      'Rotating a database password needs a function in the VPC with a route to Secrets Manager, which only the owner of the VPC ' +
        'can choose: CqrsCredentials.rotatedPasswords() rotates, CqrsCredentials.iam() has no passwords.');
  }
  return secret;
}
