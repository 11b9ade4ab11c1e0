import type { Model } from '../assembly/model.ts';
import type { ResourceType } from '../assembly/types.ts';
import { LocalRunError } from '../errors.ts';
import { serveLocally } from '../http/server.ts';
import type { LocalServer } from '../http/server.ts';
import type { LocalService, RunContext } from '../service.ts';
import { makeTables, TABLE_TYPES } from './dynamodb-tables.ts';
import { readCall, refuse, sentenceOf } from './unknown-call.ts';

/** An upload is read before it is refused, since not every SDK reads an answer earlier. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;

/**
 * The services of AWS that the run does not have. Those that the user has an address for are called there. A call to any other one gets an
 * error that says so, and is reported once: it must not leave this machine.
 */
export class OtherServices implements LocalService {
  readonly name = 'other-services';
  readonly title = 'other services';
  readonly types: Readonly<Record<string, ResourceType>>;
  readonly #context: RunContext;
  readonly #endpoints: ReadonlyMap<string, string>;
  readonly #reported = new Set<string>();
  #server: LocalServer | undefined;

  /** @throws LocalRunError if one of the given addresses is none */
  constructor(context: RunContext) {
    this.#context = context;
    this.#endpoints = new Map(Object.entries(context.otherEndpoints).map(([name, url]) => [name.toUpperCase(), checkUrl(name, url)]));
    this.types = this.#endpoints.has('DYNAMODB') ? TABLE_TYPES : {};
  }

  /** The address of the endpoint that refuses. No client has to call it on purpose, so it is not among those of the run. */
  get address(): string { return this.#server?.url ?? ''; }

  async start(): Promise<undefined> {
    const { log } = this.#context;
    this.#server = await serveLocally({
      service: 'This endpoint',
      protocols: ['any'],
      log,
      maxBodyBytes: MAX_BODY_BYTES,
      handle: (request, requestId) => {
        const call = readCall(request);
        const sentence = sentenceOf(call);
        if (!this.#reported.has(sentence)) this.#context.report(sentence);
        this.#reported.add(sentence);
        return refuse(call, request, requestId);
      },
    });
  }

  async make(model: Model): Promise<string | undefined> {
    const dynamodb = this.#endpoints.get('DYNAMODB');
    const tables = dynamodb === undefined ? 0 : await makeTables(model, dynamodb, this.#context);
    return tables > 0 ? `${tables} tables at ${dynamodb}` : undefined;
  }

  environment(): Record<string, string> {
    return Object.fromEntries([...this.#endpoints].map(([name, url]) => [`AWS_ENDPOINT_URL_${name}`, url]));
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }
}

function checkUrl(name: string, url: string): string {
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url;
  throw new LocalRunError(`The address of ${name} is '${url}', which is no URL: give one such as http://127.0.0.1:8000.`);
}
