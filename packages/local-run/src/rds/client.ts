import pg from 'pg';
import type { DatabaseAddress } from './address.ts';

export async function connect(address: DatabaseAddress): Promise<pg.Client> {
  const client = new pg.Client({ ...address, connectionTimeoutMillis: 10_000, application_name: 'local-run' });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

export async function query<Row extends pg.QueryResultRow>(address: DatabaseAddress, text: string, values: unknown[] = []): Promise<Row[]> {
  const client = await connect(address);
  try {
    return (await client.query<Row>(text, values)).rows;
  } finally {
    await client.end();
  }
}
