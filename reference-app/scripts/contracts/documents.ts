import { execFile } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { asyncApi } from './asyncapi.ts';
import { formatJson, jsonSchema, type JsonSchema } from './json-schema.ts';
import { openApi } from './openapi.ts';
import { page } from './page.ts';
import { planContracts, type Contract, type Plan, type Published } from './published.ts';
import { sampleEvents } from './samples.ts';
import { defaultSettings, detailTypesOf } from '../../lib/settings.ts';
import { routes as readRoutes } from '../../services/order-service/api-read-service/routes.ts';
import { routes as writeRoutes } from '../../services/order-service/api-write-service/routes.ts';
import {
  Bundle, bundleHead, bundleOf, DETAIL_TYPES, EVENT_DATA, EventFormatError, eventSchema, parseMessage, versionOf, type EventType,
} from '../../services/shared/events/index.ts';

export const APP = join(import.meta.dirname, '../..');
const CONTRACTS = join(APP, 'contracts');
export const DOCS = join(APP, '../docs/api');

/** Every event that the code knows. */
export function currentContracts(): Contract[] {
  return (Object.keys(EVENT_DATA) as EventType[]).map((type) => {
    const detailType = DETAIL_TYPES[type];
    const { properties, ...rest } = jsonSchema(eventSchema(type));
    const { description, ...data } = jsonSchema(EVENT_DATA[type]);
    const schema = { ...(description === undefined ? {} : { description }), ...rest, properties: { ...properties, data } };
    return { type, ...versionOf(type), detailType, schema };
  });
}

/** The other form of a message: several events. */
export const BUNDLE = 'bundle';

function bundleContract(): Contract {
  const samples = currentContracts().filter(({ type }) => type === 'inventory.updated' || type === 'order.confirmed').map((contract) => {
    const [first, ...others] = sampleEvents(contract).map((event) => JSON.stringify(event));
    const head = bundleHead(first!)!;
    return JSON.parse(bundleOf(head, [first!, ...others.filter((event) => bundleHead(event) === head)])) as object;
  });
  return { type: BUNDLE, name: BUNDLE, major: 1, detailType: 'Bundle', schema: jsonSchema(Bundle), samples };
}

export async function publishedContracts(directory = CONTRACTS): Promise<Published[]> {
  const files = await readdir(directory, { recursive: true }).catch(() => []);
  return (await Promise.all(files.map((file) => published(file, () => readFile(join(directory, file), 'utf8'))))).flat();
}

/** The contracts of another version of the repository, such as `origin/main`. */
export async function releasedContracts(revision: string): Promise<Published[]> {
  const git = async (...args: string[]) => (await promisify(execFile)('git', args, { cwd: APP, maxBuffer: 64 * 1024 * 1024 })).stdout;
  const files = (await git('ls-tree', '-r', '--name-only', revision, 'contracts/')).split('\n');
  return (await Promise.all(files.map(async (file) => published(file.replace(/^contracts\//, ''), () => git('show', `${revision}:./${file}`))))).flat();
}

/** A file of that name, if it is one of a contract. */
async function published(file: string, read: () => Promise<string>): Promise<Published[]> {
  const [, name, major, minor] = /^([^/\\]+)[/\\](\d+)\.(\d+)\.json$/.exec(file) ?? [];
  return name === undefined ? [] : [{ name, major: Number(major), minor: Number(minor), schema: JSON.parse(await read()) as JsonSchema }];
}

async function plan(): Promise<Plan> {
  return planContracts([...currentContracts(), bundleContract()], await publishedContracts(), (message) => {
    const wrong = parseMessage(message).find((event) => event instanceof EventFormatError);
    if (wrong) throw wrong;
  });
}

/** The documents of the APIs that the services serve, and of the events that the queues get. */
export async function documents(): Promise<{ openapi: object; asyncapi: object }> {
  const consumers = Object.entries(defaultSettings.consumers).map(([name, consumer]) => ({ name, detailTypes: detailTypesOf(consumer) }));
  return {
    openapi: openApi([
      { name: 'write', description: 'Commands: the write service takes orders in.', port: 3000, routes: writeRoutes },
      { name: 'read', description: 'Queries: the read service shows orders and stock.', port: 3001, routes: readRoutes },
    ]),
    asyncapi: asyncApi(defaultSettings.eventSource, currentContracts(), jsonSchema(Bundle), await publishedContracts(), consumers),
  };
}

export interface Outdated {
  /** Path → what should stand there. */
  readonly files: ReadonlyMap<string, string>;
  readonly problems: readonly string[];
}

/** The files that are not as they should be. The documents show published samples: they follow once contracts are written. */
export async function outdated(): Promise<Outdated> {
  const { writes, problems } = await plan();
  if (problems.length > 0 || writes.size > 0) {
    return { files: new Map([...writes].map(([path, text]) => [join(CONTRACTS, path), text])), problems };
  }
  const { openapi, asyncapi } = await documents();
  const wanted = new Map([
    [join(DOCS, 'openapi.json'), formatJson(openapi)],
    [join(DOCS, 'asyncapi.json'), formatJson(asyncapi)],
    [join(DOCS, 'index.html'), page(openapi as never, asyncapi as never)],
  ]);
  const found = await Promise.all([...wanted.keys()].map((path) => readFile(path, 'utf8').catch(() => '')));
  return { files: new Map([...wanted].filter(([, text], n) => text !== found[n])), problems };
}
