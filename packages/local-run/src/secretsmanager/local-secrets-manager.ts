import { join } from 'node:path';
import type { Model, Resource } from '../assembly/model.ts';
import type { LocalService, RunContext } from '../service.ts';
import { SecretsManager } from './endpoint.ts';
import { SecretFile } from './secret-file.ts';
import { makeSecrets, secretName } from './secrets.ts';
import type { SecretStore } from './secrets.ts';

/** AWS Secrets Manager: the secrets of the stacks, with values that stay over restarts. */
export class LocalSecretsManager implements LocalService {
  readonly name = 'secretsmanager';
  readonly title = 'secrets';
  readonly types = {
    'AWS::SecretsManager::Secret': {
      ref: (secret: Resource) => this.store.arn(secretName(secret)),
      attributes: { Id: (secret: Resource) => this.store.arn(secretName(secret)) },
    },
    'AWS::SecretsManager::SecretTargetAttachment': {
      ref: (attachment: Resource) => attachment.get('SecretId'),
      attributes: { Id: (attachment: Resource) => attachment.get('SecretId') },
    },
  };
  readonly withoutMeaning = { 'rotation: a secret keeps its value': ['AWS::SecretsManager::RotationSchedule'] };
  readonly store: SecretStore;
  readonly #context: RunContext;
  readonly #endpoint: SecretsManager;
  #url: string | undefined;

  constructor(context: RunContext) {
    this.#context = context;
    this.#endpoint = new SecretsManager({ region: context.region, accountId: context.account, log: context.log });
    this.store = new SecretFile(join(context.dataDir, 'secrets.json'), this.#endpoint);
  }

  get url(): string { return this.#url ?? ''; }

  async start(): Promise<undefined> {
    this.#url = (await this.#endpoint.start({ port: await this.#context.port(this.name) })).url;
  }

  async make(model: Model): Promise<undefined> {
    makeSecrets(model, this.store, this.#context.warn);
  }

  environment(): Record<string, string> {
    return { AWS_ENDPOINT_URL_SECRETS_MANAGER: this.url };
  }

  async stop(): Promise<void> {
    await this.#endpoint.stop();
  }
}
