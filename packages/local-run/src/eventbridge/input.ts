import { AwsError, validation } from './errors.ts';
import { isRawNumber, parseJson } from './json.ts';
import type { BusEvent, Target } from './types.ts';

/** The input that a target gets instead of the event: `Input`, `InputPath` or `InputTransformer`. */
export interface InputContext {
  readonly event: BusEvent;
  /** The event as JSON. */
  readonly body: string;
  readonly ruleArn: string;
  readonly ruleName: string;
  readonly ingestionTime: string;
}

export type RenderInput = (context: InputContext) => string;

const PREDEFINED: Record<string, (context: InputContext) => unknown> = {
  'aws.events.rule-arn': ({ ruleArn }) => ruleArn,
  'aws.events.rule-name': ({ ruleName }) => ruleName,
  'aws.events.event.ingestion-time': ({ ingestionTime }) => ingestionTime,
  // The event without its detail. EventBridge spells this one key differently here.
  'aws.events.event': ({ event }) => {
    const { 'detail': _, 'detail-type': detailType, ...rest } = event;
    return { ...rest, detailType };
  },
  'aws.events.event.json': ({ event }) => event,
};

const PLACEHOLDER = /<([A-Za-z0-9_.-]+)>/g;
const MAX_PATHS = 100;
const MAX_LENGTH = 8192;

/** Compiles and checks the input of a target; throws ValidationException as PutTargets does. */
export function compileInput(target: Target): RenderInput {
  const { Id, Input, InputPath, InputTransformer } = target;
  if ([Input, InputPath, InputTransformer].filter(each => each !== undefined).length > 1) {
    throw validation(`Only one of Input, InputPath, or InputTransformer must be provided for target ${Id}.`);
  }
  if (Input !== undefined) {
    try {
      JSON.parse(Input);
    } catch {
      throw validation(`Input for target ${Id} is not valid JSON text.`);
    }
    return () => Input;
  }
  if (InputPath !== undefined) {
    const extract = compilePath(InputPath, `InputPath for target ${Id}`);
    return ({ event }) => JSON.stringify(extract(event) ?? null);
  }
  if (InputTransformer === undefined) return ({ body }) => body;
  return compileTransformer(Id, InputTransformer.InputPathsMap ?? {}, InputTransformer.InputTemplate);
}

function compileTransformer(id: string, pathsMap: Record<string, string>, template: string): RenderInput {
  if (typeof template !== 'string' || template === '') throw validation(`InputTemplate for target ${id} must not be empty.`);
  if (template.length > MAX_LENGTH) throw validation(`InputTemplate for target ${id} is longer than ${MAX_LENGTH} characters.`);
  const names = Object.keys(pathsMap);
  if (names.length > MAX_PATHS) throw validation(`InputPathsMap for target ${id} has more than ${MAX_PATHS} paths.`);
  const variables = new Map<string, (context: InputContext) => unknown>(Object.entries(PREDEFINED));
  for (const name of names) {
    if (name.toLowerCase().startsWith('aws.')) {throw validation(`InputPathsMap for target ${id} must not name a variable ${name}: AWS. is reserved.`);}
    const extract = compilePath(pathsMap[name]!, `InputPathsMap ${name} for target ${id}`);
    variables.set(name, ({ event }) => extract(event));
  }

  const parts: ((context: InputContext) => string)[] = [];
  let quoted = false;
  let at = 0;
  for (const match of template.matchAll(PLACEHOLDER)) {
    const name = match[1]!;
    const variable = variables.get(name);
    if (variable === undefined) throw validation(`InputTemplate for target ${id} contains invalid placeholder ${name}.`);
    const literal = template.slice(at, match.index);
    quoted = endsInString(literal, quoted);
    const format = quoted ? insideString : outsideString;
    parts.push(
      () => literal,
      context => format(variable(context)),
    );
    at = match.index + match[0].length;
  }
  const end = template.slice(at);
  parts.push(() => end);

  const isJson = /^\s*[{[]/.test(template);
  return context => {
    const text = parts.map(part => part(context)).join('');
    return isJson ? minified(text, id) : text;
  };
}

function endsInString(literal: string, quoted: boolean): boolean {
  for (let i = 0; i < literal.length; i++) {
    if (literal[i] === '\\' && quoted) i++;
    else if (literal[i] === '"') quoted = !quoted;
  }
  return quoted;
}

/** A variable without quotes around it becomes JSON; a path that is not in the event an empty string. */
const outsideString = (value: unknown): string => JSON.stringify(value ?? '');

/** Within quotes strings stand as they are (EventBridge escapes nothing), and objects and arrays lose their quotes. */
function insideString(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value).replaceAll('"', '');
}

function minified(text: string, id: string): string {
  try {
    return JSON.stringify(parseJson(text));
  } catch {
    const error = new AwsError('InvalidJson', `The input of target ${id} is not valid JSON after the transformation`);
    throw Object.assign(error, { code: 'INVALID_JSON' });
  }
}

type Extract = (event: unknown) => unknown;
const SEGMENT = /\.([A-Za-z0-9_/-]+|\*)|\[(\d+|\*)\]|\['([^']+)'\]/y;

/** The JSON paths that EventBridge knows: names, array indexes and wildcards. */
function compilePath(path: string, what: string): Extract {
  const bad = () => validation(`${what} is not a valid JSON path: ${path}`);
  if (typeof path !== 'string' || !path.startsWith('$')) throw bad();
  const steps: string[] = [];
  for (SEGMENT.lastIndex = 1; SEGMENT.lastIndex < path.length;) {
    const match = SEGMENT.exec(path);
    if (match === null) throw bad();
    steps.push(match[1] ?? match[2] ?? match[3]!);
  }
  return event => follow(event, steps, 0);
}

function follow(value: unknown, steps: readonly string[], at: number): unknown {
  const step = steps[at];
  if (step === undefined) return value;
  if (typeof value !== 'object' || value === null || isRawNumber(value)) return undefined;
  if (step === '*') {
    return Object.values(value)
      .map(each => follow(each, steps, at + 1))
      .filter(each => each !== undefined);
  }
  return Object.hasOwn(value, step) ? follow((value as Record<string, unknown>)[step], steps, at + 1) : undefined;
}
