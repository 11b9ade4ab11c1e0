import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { LocalService, Model, Resource, RunContext } from '../../src/index.ts';

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
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  constructor(context: RunContext) {
    this.#context = context;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(): Promise<undefined> {
    const port = await this.#context.port(this.name);
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
  }

  async make(model: Model): Promise<string> {
    for (const parameter of model.ofType('AWS::SSM::Parameter')) this.#values.set(String(parameter.ref()), parameter.get('Value'));
    return `${this.#values.size} parameters`;
  }

  environment(): Record<string, string> {
    return { AWS_ENDPOINT_URL_SSM: this.url };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { Name } = await json(request) as { Name: string };
    const Value = this.#values.get(Name);
    response.statusCode = Value === undefined ? 400 : 200;
    response.end(JSON.stringify(Value === undefined ? { __type: 'ParameterNotFound' } : { Parameter: { Name, Value } }));
  }
}
