import { makeEach } from '../assembly/make-each.ts';
import type { Model, Resource } from '../assembly/model.ts';
import type { ResourceType } from '../assembly/types.ts';
import { LocalRunError } from '../errors.ts';
import type { RunContext } from '../service.ts';

/** The values of a table that is in a DynamoDB outside the run. Its stream has an ARN that only that DynamoDB knows. */
const TABLE: ResourceType = { ref: tableName, attributes: { Arn: (table) => table.arn('dynamodb', `table/${tableName(table)}`) } };

export const TABLE_TYPES = { 'AWS::DynamoDB::Table': TABLE, 'AWS::DynamoDB::GlobalTable': TABLE };

const ANSWER_MS = 10_000;

/**
 * Makes the tables of the stacks that are missing in the DynamoDB at this address. A table that is there stays as it is.
 *
 * @returns the number of tables of the stacks
 * @throws LocalRunError if the address does not answer, or refuses a table
 */
export async function makeTables(model: Model, url: string, { region, warn }: Pick<RunContext, 'region' | 'warn'>): Promise<number> {
  const tables = makeEach(model.ofType(...Object.keys(TABLE_TYPES)), warn, (table) => ({ table, input: createTableInput(table) }));
  for (const { table, input } of tables) await create(table, input, url, region);
  return tables.length;
}

async function create(table: Resource, input: object, url: string, region: string): Promise<void> {
  const { status, error } = await call(url, region, input, table);
  if (status === 200 || error.type === 'ResourceInUseException') return;
  throw new LocalRunError(`The table ${table.constructPath} cannot be made in the DynamoDB at ${url}: ${error.type || `status ${status}`} ${error.message}`.trim());
}

interface Answer {
  readonly status: number;
  readonly error: { readonly type: string; readonly message: string };
}

async function call(url: string, region: string, input: object, table: Resource): Promise<Answer> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      signal: AbortSignal.timeout(ANSWER_MS),
      body: JSON.stringify(input),
      headers: {
        'content-type': 'application/x-amz-json-1.0',
        'x-amz-target': 'DynamoDB_20120810.CreateTable',
        'x-amz-date': '20260101T000000Z',
        // DynamoDB Local has a database for each key and region: this has to be the key of the workloads.
        'authorization': `AWS4-HMAC-SHA256 Credential=local/20260101/${region}/dynamodb/aws4_request, SignedHeaders=host, Signature=0`,
      },
    });
    const answer = await response.json().catch(() => ({})) as { __type?: unknown; message?: unknown; Message?: unknown };
    return { status: response.status, error: { type: String(answer.__type ?? '').split('#').at(-1) ?? '', message: String(answer.message ?? answer.Message ?? '') } };
  } catch (error) {
    const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const code = (reason as { code?: string }).code ?? String(reason);
    throw new LocalRunError(`The table ${table.constructPath} cannot be made: there is no DynamoDB at ${url} (${code}). Start it first, or leave --endpoint dynamodb away.`);
  }
}

type Values = Readonly<Record<string, unknown>>;

/** The properties of a table of a template are those of the API, but for numbers that are texts. */
function createTableInput(table: Resource): object {
  const onDemand = table.type === 'AWS::DynamoDB::GlobalTable' || table.text('BillingMode') === 'PAY_PER_REQUEST';
  const indexes = (property: string, withThroughput: boolean) => {
    const all = (table.get(property) ?? []) as Values[];
    return all.length === 0 ? {} : { [property]: all.map((index) => indexInput(index, withThroughput)) };
  };
  return {
    TableName: tableName(table),
    AttributeDefinitions: table.get('AttributeDefinitions'),
    KeySchema: table.get('KeySchema'),
    BillingMode: onDemand ? 'PAY_PER_REQUEST' : 'PROVISIONED',
    ...(!onDemand && { ProvisionedThroughput: throughput(table.get('ProvisionedThroughput') as Values | undefined) }),
    ...indexes('GlobalSecondaryIndexes', !onDemand),
    ...indexes('LocalSecondaryIndexes', false),
  };
}

function indexInput({ IndexName, KeySchema, Projection, ProvisionedThroughput: given }: Values, withThroughput: boolean): object {
  return { IndexName, KeySchema, Projection, ...(withThroughput && { ProvisionedThroughput: throughput(given as Values | undefined) }) };
}

function throughput({ ReadCapacityUnits = 5, WriteCapacityUnits = 5 }: Values = {}): object {
  return { ReadCapacityUnits: Number(ReadCapacityUnits), WriteCapacityUnits: Number(WriteCapacityUnits) };
}

function tableName(table: Resource): string {
  return table.physicalName('TableName', 255);
}
