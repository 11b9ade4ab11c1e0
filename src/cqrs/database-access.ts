/**
 * Which side of a CQRS database is used.
 */
export enum DatabaseSide {
  /** The writer and a reader, with the command role. */
  COMMAND = 'COMMAND',

  /** A reader, with the query role, which can only read. */
  QUERY = 'QUERY',

  /** None: no credentials and no network path. */
  NONE = 'NONE',
}
