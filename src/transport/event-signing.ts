import { RemovalPolicy } from 'aws-cdk-lib';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import { acknowledge } from '../private/acknowledge';

/**
 * Options of the signatures of events.
 */
export interface EventSigningOptions {
  /**
   * False if consumers don't verify yet: publishers sign, and consumers get no key. It is for the deployment with which signatures begin,
   * and for the one before they end: the events that are on their way then are not signed.
   *
   * @default true
   */
  readonly verify?: boolean;
}

/**
 * Options of a generated key for the signatures of events.
 */
export interface GeneratedSigningKeyOptions extends EventSigningOptions {
  /**
   * The removal policy of the secret when the stack is deleted. Keep it with an archive that stays: events that nobody can verify are
   * refused when they are replayed.
   *
   * @default RemovalPolicy.DESTROY
   */
  readonly removalPolicy?: RemovalPolicy;
}

/**
 * The signatures of a pipeline's events: publishers sign, consumers refuse what isn't signed.
 *
 * The signature is an HMAC with a key of AWS Secrets Manager. Publishers and consumers get the ARN of the secret in
 * `EVENT_SIGNING_SECRET_ARN`, and the permission to read exactly this secret and its versions. Programs sign with the current version. They
 * accept every version that has a label: the current, the previous and the pending one.
 *
 * Begin in two deployments: with `verify: false`, and without it when all events on their way are signed. Otherwise consumers refuse what
 * the former publishers have sent.
 *
 * Rotate the key by a new version of the secret. A replayed event has its old signature, and it may wait for 28 days in a queue and in its
 * dead-letter queue. So the time between two rotations has to be longer than the retention of the archive plus 28 days.
 *
 * @example
 * declare const secret: secretsmanager.ISecret;
 *
 * EventSigning.generated();
 * EventSigning.generated({ verify: false });
 * EventSigning.secret(secret);
 */
export class EventSigning {
  /**
   * Signs with a generated key, in a secret that the pipeline makes.
   */
  public static generated(options: GeneratedSigningKeyOptions = {}): EventSigning {
    return new EventSigning(true, options.verify ?? true, (scope, id, encryptionKey) => signingKey(scope, id, options, encryptionKey));
  }

  /**
   * Signs with the key of an existing secret, such as that of the pipeline whose events this one consumes, too.
   *
   * @param secret its value is the key: a text of at least 32 characters
   */
  public static secret(secret: secretsmanager.ISecret, options: EventSigningOptions = {}): EventSigning {
    return new EventSigning(false, options.verify ?? true, () => secret);
  }

  /**
   * Signs nothing: a consumer believes everybody who may publish.
   */
  public static none(): EventSigning {
    return new EventSigning(true, false, () => undefined);
  }

  private constructor(
    /**
     * Whether no other pipeline has the key.
     *
     * @internal
     */
    public readonly _isOwn: boolean,
    /** @internal */
    public readonly _verify: boolean,
    private readonly key: (scope: Construct, id: string, encryptionKey?: kms.IKey) => secretsmanager.ISecret | undefined,
  ) {
  }

  /**
   * Returns the secret, which is made now if it is to be made.
   *
   * @internal
   */
  public _bind(scope: Construct, id: string, encryptionKey?: kms.IKey): secretsmanager.ISecret | undefined {
    return this.key(scope, id, encryptionKey);
  }
}

function signingKey(scope: Construct, id: string, options: GeneratedSigningKeyOptions, encryptionKey?: kms.IKey): secretsmanager.ISecret {
  const secret = new secretsmanager.Secret(scope, id, {
    description: `Signs the events of ${scope.node.path}`,
    encryptionKey,
    removalPolicy: options.removalPolicy ?? RemovalPolicy.DESTROY,
    // Nothing here may change: CloudFormation generates another key when it does, and the archive has events with the former one.
    generateSecretString: { passwordLength: 64, excludePunctuation: true },
  });
  acknowledge(secret, 'AwsSolutions::AwsSolutions-SMG4',
    'A key that is rotated more often than the archive and the queues forget events makes their signatures worthless: the owner of the archive decides.');
  return secret;
}
