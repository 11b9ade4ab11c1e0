import { LOOPBACK } from '../processes/ports.ts';

/** The ports that templates state for databases, with those of the servers and their replicas on this machine. */
export interface DatabasePorts {
  readonly writers: Map<string, number>;
  readonly readers: Map<string, number>;
}

/** `DB_READER_PORT`, `READ_PORT`, `REPLICA_DB_PORT`: all endpoints of Aurora have the same port, so only the name tells them apart. */
const READER_PORT = /(^|_)(READ|READER|READERS|REPLICA|RO)_(.*_)?PORT$/;

/** The value of a variable, with the port here instead of the one that its template states as a number. */
export function withDatabasePort(name: string, value: string, { writers, readers }: DatabasePorts): string {
  const local = (READER_PORT.test(name) ? readers.get(value) : undefined) ?? (/PORT$/.test(name) ? writers.get(value) : undefined);
  if (local !== undefined) return String(local);
  return value.replace(/127\.0\.0\.1:(\d+)(?::(\d+))?/g, (whole, first: string, second: string | undefined) => {
    // The replica's address holds its port already, and a socket address has the stated one behind it.
    if (second !== undefined && writers.has(second)) return `${LOOPBACK}:${first}`;
    const port = second === undefined ? writers.get(first) : undefined;
    return port === undefined ? whole : `${LOOPBACK}:${port}`;
  });
}
