// Only tests import this file.

/** The record of a database that the first layout of the files made, one row of numbers for all schemas. */
export const FORMER_LAYOUT = `CREATE SCHEMA messaging;
  CREATE TABLE messaging.schema_migration (
    version    int         PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
  );
  INSERT INTO messaging.schema_migration (version, name, checksum)
  VALUES (1, 'messaging', 'a'), (2, 'orders', 'b'), (3, 'inventory', 'c'), (4, 'notification-analytics', 'd'), (5, 'fan-out', 'e');`;
