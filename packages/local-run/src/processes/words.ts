import { lastLines } from './program.ts';

interface LogLine {
  readonly level?: unknown;
  readonly message?: unknown;
  readonly msg?: unknown;
}

/** The last lines of a log as a person reads them: the messages of JSON lines, and only the last one when it is about a fatal error. */
export function lastWords(logFile: string, count: number): string {
  const words = lastLines(logFile, count).map(wordsOf);
  const last = words.at(-1);
  return last?.fatal ? last.text : words.map(({ text }) => text).join(' | ');
}

function wordsOf(line: string): { readonly text: string; readonly fatal: boolean } {
  const { level, message, msg } = parse(line);
  const text = [message, msg].find((candidate) => typeof candidate === 'string');
  // Pino writes 60 unless it is configured to write names.
  return text === undefined ? { text: line, fatal: false } : { text, fatal: level === 'fatal' || level === 60 };
}

function parse(line: string): LogLine {
  try {
    return Object(JSON.parse(line)) as LogLine;
  } catch {
    return {};
  }
}
