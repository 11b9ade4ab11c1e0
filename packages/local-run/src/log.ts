export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Writes one record; `fields` are added to it as they are. */
export type Log = (level: LogLevel, message: string, fields?: Record<string, unknown>) => void;
