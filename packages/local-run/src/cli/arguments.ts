import { parseArgs } from 'node:util';
import type { ParseArgsConfig } from 'node:util';

/** Arguments that make no sense: shown as one sentence, with exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Reads arguments, with errors that name the option and the way out. `help` is the command that explains them. */
export function readArguments<T extends ParseArgsConfig>(config: T, help: string): ReturnType<typeof parseArgs<T>> {
  let parsed: ReturnType<typeof parseArgs<T>>;
  try {
    parsed = parseArgs(config);
  } catch (error) {
    throw new UsageError(usageMessage(error as { code?: string; message: string }, help));
  }
  for (const [name, value] of Object.entries(parsed.values)) {
    if (value === '' || (Array.isArray(value) && value.includes(''))) throw new UsageError(`--${name} expects a value, not an empty one.`);
  }
  return parsed;
}

/** Node's own sentences explain the parser; these name the option and what to do. */
function usageMessage({ code, message }: { readonly code?: string; readonly message: string }, help: string): string {
  const quoted = /'([^']+)'/.exec(message)?.[1] ?? '';
  const option = /--[a-z-]+/.exec(quoted)?.[0] ?? quoted;
  switch (code) {
    case 'ERR_PARSE_ARGS_UNKNOWN_OPTION':
      return `Unknown option '${quoted}': see ${help}.`;
    case 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL':
      return `Unexpected argument '${quoted}': see ${help}.`;
    case 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE':
      return `${option} ${message.includes('does not take an argument') ? 'takes no value.' : `expects a value, see ${help}.`}`;
    default:
      return message;
  }
}

export function integer(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || value < min || value > max) {
    throw new UsageError(`--${option} expects a whole number from ${min} to ${max}, not '${text}'.`);
  }
  return value;
}

/** A port by name, as in `writer=5432`. */
export function namedPort(text: string): [name: string, port: number] {
  const [name, port] = /^([^=]+)=(.*)$/.exec(text)?.slice(1) ?? [];
  if (name === undefined || port === undefined) throw new UsageError(`--port expects NAME=PORT, such as writer=5432, not '${text}'.`);
  return [name, integer(`port ${name}`, port, 0, 65535)];
}

/** Ports by name. Neither a name nor a port may come twice. */
export function namedPorts(asked: readonly (readonly [option: string, name: string, port: number])[]): Record<string, number> {
  const ports: Record<string, number> = {};
  for (const [option, name, port] of asked) {
    if (name in ports) throw new UsageError(`--${option} gives ${name} a port a second time: leave one of the two away.`);
    const other = Object.entries(ports).find(([, taken]) => port !== 0 && taken === port);
    if (other) throw new UsageError(`--${option} gives ${name} the port ${port}, which ${other[0]} has already: choose another.`);
    ports[name] = port;
  }
  return ports;
}

/** The value of a parameter of a template by name, as in `Stage=prod` or `Shop:Stage=prod`. It may be empty. */
export function namedParameter(text: string): [name: string, value: string] {
  const [name, value] = /^([^=]+)=(.*)$/s.exec(text)?.slice(1) ?? [];
  if (name === undefined || value === undefined) {
    throw new UsageError(`--parameter expects NAME=VALUE or STACK:NAME=VALUE, such as Stage=prod, not '${text}'.`);
  }
  return [name, value];
}

/** The address of a service by name, as in `dynamodb=http://127.0.0.1:8000`. */
export function namedEndpoint(text: string): [name: string, url: string] {
  const [name, url] = /^([a-z][a-z0-9_-]*)=(.+)$/i.exec(text)?.slice(1) ?? [];
  if (name === undefined || url === undefined || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new UsageError(`--endpoint expects NAME=URL, such as dynamodb=http://127.0.0.1:8000, not '${text}'.`);
  }
  return [name, url];
}
