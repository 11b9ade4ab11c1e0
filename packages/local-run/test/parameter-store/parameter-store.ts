import { AwsError, serveAwsJson } from '../../src/index.ts';
import type { AwsJsonServer, LocalService, Model, Resource, RunContext } from '../../src/index.ts';

/** Parameter Store of AWS Systems Manager, as far as programs read parameters of the stacks. */
export class LocalParameterStore implements LocalService {
  readonly name = 'ssm';
  readonly title = 'parameters';
  readonly types = {
    'AWS::SSM::Parameter': {
      ref: (parameter: Resource) => parameter.physicalName('Name', 1011),
      attributes: { Value: (parameter: Resource) => parameter.get('Value') },
    },
  };
  readonly #context: RunContext;
  readonly #values = new Map<string, unknown>();
  #server: AwsJsonServer | undefined;

  constructor(context: RunContext) {
    this.#context = context;
  }

  get url(): string | undefined {
    return this.#server?.url;
  }

  async start(): Promise<undefined> {
    const { log, port } = this.#context;
    const actions = { GetParameter: ({ Name }: { Name?: unknown }) => this.#parameter(String(Name)) };
    this.#server = await serveAwsJson({ service: 'Parameter Store', targetPrefix: 'AmazonSSM', actions, log, port: await port(this.name) });
  }

  async make(model: Model): Promise<string> {
    for (const parameter of model.ofType('AWS::SSM::Parameter')) this.#values.set(String(parameter.ref()), parameter.get('Value'));
    return `${this.#values.size} parameters`;
  }

  environment(): Record<string, string> {
    return { AWS_ENDPOINT_URL_SSM: this.url ?? '' };
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }

  #parameter(Name: string): object {
    if (!this.#values.has(Name)) throw new AwsError('ParameterNotFound', `There is no parameter ${Name}.`);
    return { Parameter: { Name, Type: 'String', Value: this.#values.get(Name) } };
  }
}
