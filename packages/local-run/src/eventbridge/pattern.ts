import ipaddr from 'ipaddr.js';
import { InvalidEventPatternException } from './errors.ts';
import { isRawNumber, parseJson } from './json.ts';
import type { Scalar } from './json.ts';

/**
 * EventBridge's event pattern language, as the library `event-ruler` that EventBridge itself uses understands it. `oracle/` holds what that
 * library says to some thousand patterns and events; `pattern.test.ts` compares.
 *
 * A pattern compiles to branches (one, unless `$or` is used); a branch to conditions, one per field path. An event is flattened to its
 * leaves, each with the array elements it lies in, and a branch matches when every condition is met by leaves that do not come from
 * different elements of one array.
 */
export interface CompiledPattern {
  /** Paths of the event that the pattern looks at. */
  readonly paths: readonly string[];
  matches(fields: Fields): boolean;
}

export type Fields = ReadonlyMap<string, readonly Leaf[]>;

interface Leaf {
  readonly value: Scalar;
  /** Pairs of array number and index in it. */
  readonly membership: readonly number[];
}

type Test = (value: Scalar) => boolean;

interface Condition {
  readonly path: string;
  readonly test: Test;
  /** `{"exists": false}` is among the alternatives. */
  readonly orAbsent: boolean;
}

export function matchesPattern(pattern: CompiledPattern, event: object): boolean {
  return pattern.matches(flatten(event, wantedPaths([pattern])));
}

// --- events ---

export interface WantedPaths {
  readonly leaves: ReadonlySet<string>;
  readonly parents: ReadonlySet<string>;
}

/** The fields that `flatten` has to look for. One pass over an event serves all rules of a bus. */
export function wantedPaths(patterns: Iterable<CompiledPattern>): WantedPaths {
  const leaves = new Set<string>();
  const parents = new Set<string>();
  for (const pattern of patterns) {
    for (const path of pattern.paths) {
      leaves.add(path);
      for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) parents.add(path.slice(0, dot));
    }
  }
  return { leaves, parents };
}

const NOWHERE: readonly number[] = [];

export function flatten(event: object, wanted: WantedPaths): Fields {
  const fields = new Map<string, Leaf[]>();
  let arrays = 0;

  const visitObject = (object: Record<string, unknown>, prefix: string, membership: readonly number[]) => {
    for (const key of Object.keys(object)) {
      const path = prefix === '' ? key : `${prefix}.${key}`;
      if (wanted.leaves.has(path) || wanted.parents.has(path)) visitValue(object[key], path, membership);
    }
  };
  const visitValue = (value: unknown, path: string, membership: readonly number[]) => {
    if (Array.isArray(value)) {
      const array = arrays++;
      value.forEach((element: unknown, index) => {
        // Plain values of one array are alternatives to each other: only objects and arrays in it are places of their own.
        const nested = typeof element === 'object' && element !== null && !isRawNumber(element);
        visitValue(element, path, nested ? [...membership, array, index] : membership);
      });
    } else if (typeof value === 'object' && value !== null && !isRawNumber(value)) {
      visitObject(value as Record<string, unknown>, path, membership);
    } else if (wanted.leaves.has(path)) {
      const leaf = { value: value as Scalar, membership };
      const leaves = fields.get(path);
      if (leaves === undefined) fields.set(path, [leaf]);
      else leaves.push(leaf);
    }
  };
  visitObject(event as Record<string, unknown>, '', NOWHERE);
  return fields;
}

// --- matching ---

function branchMatches(conditions: readonly Condition[], fields: Fields): boolean {
  const hits: (readonly Leaf[])[] = [];
  for (const { path, test, orAbsent } of conditions) {
    const found = fields.get(path)?.filter(({ value }) => test(value)) ?? [];
    if (found.length === 0 && !orAbsent) return false;
    hits.push(found);
  }
  return search(conditions, hits, fields, 0, NOWHERE);
}

function search(
  conditions: readonly Condition[],
  hits: readonly (readonly Leaf[])[],
  fields: Fields,
  at: number,
  chosen: readonly number[],
): boolean {
  const condition = conditions[at];
  if (condition === undefined) return true;
  if (condition.orAbsent && !fields.get(condition.path)?.some(({ membership }) => join(chosen, membership) !== undefined)) {
    if (search(conditions, hits, fields, at + 1, chosen)) return true;
  }
  return (
    hits[at]?.some(({ membership }) => {
      const joined = join(chosen, membership);
      return joined !== undefined && search(conditions, hits, fields, at + 1, joined);
    }) ?? false
  );
}

/** The elements that two leaves lie in, together; undefined if they lie in different elements of one array. */
function join(a: readonly number[], b: readonly number[]): readonly number[] | undefined {
  if (a.length === 0 || b === a) return b;
  if (b.length === 0) return a;
  let joined: number[] | undefined;
  for (let i = 0; i < b.length; i += 2) {
    let known = false;
    for (let j = 0; j < a.length; j += 2) {
      if (a[j] !== b[i]) continue;
      if (a[j + 1] !== b[i + 1]) return undefined;
      known = true;
      break;
    }
    if (!known) (joined ??= [...a]).push(b[i]!, b[i + 1]!);
  }
  return joined ?? a;
}

// --- compiling ---

interface Alternatives {
  readonly test: Test;
  readonly orAbsent: boolean;
}
type Branch = Map<string, Alternatives>;

const MAX_PATTERN_LENGTH = 4096;

/** @throws InvalidEventPatternException that names the field */
export function compilePattern(pattern: string | object, maxLength = MAX_PATTERN_LENGTH): CompiledPattern {
  const text = typeof pattern === 'string' ? pattern : JSON.stringify(pattern);
  if (text.length > maxLength) {
    throw new InvalidEventPatternException(`The pattern has ${text.length} characters, more than ${maxLength}`);
  }
  let parsed: unknown;
  try {
    parsed = parseJson(text);
  } catch {
    throw new InvalidEventPatternException('Invalid JSON');
  }
  if (!isObject(parsed)) throw new InvalidEventPatternException('Filter is not an object');

  const branches = compileObject([], '', parsed, false).map((branch): Condition[] =>
    // In the order of the paths, because an absent field is judged against what the fields before it have chosen.
    [...branch].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, alternatives]) => ({ path, ...alternatives })),
  );
  return {
    paths: [...new Set(branches.flat().map(({ path }) => path))],
    matches: fields => branches.some(branch => branchMatches(branch, fields)),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawNumber(value);
}

function fail(path: string, reason: string): never {
  throw new InvalidEventPatternException(path === '' ? reason : `${reason} (field: ${path})`);
}

const RESERVED_IN_OR = new Set([
  'exactly',
  'equals-ignore-case',
  'prefix',
  'suffix',
  'anything-but',
  'exists',
  'wildcard',
  'numeric',
  'cidr',
  '=',
  '<',
  '<=',
  '>',
  '>=',
  'regex',
  'not-wildcard',
  'not-equals-ignore-case',
  'date-after',
  'date-on-or-after',
  'date-before',
  'date-on-or-before',
  'in-date-range',
  'ip-address-in-range',
  'ip-address-not-in-range',
]);

function compileObject(branches: Branch[], prefix: string, object: Record<string, unknown>, insideOr: boolean): Branch[] {
  const entries = Object.entries(object);
  if (entries.length === 0) fail(prefix, 'Empty objects are not allowed');
  for (const [key, value] of entries) {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    if (key === '$or') {
      branches = compileOr(branches, prefix, value);
    } else if (insideOr && RESERVED_IN_OR.has(key)) {
      fail(path, `${key} is Ruler reserved fieldName which cannot be used inside $or.`);
    } else if (isObject(value)) {
      branches = compileObject(branches, path, value, insideOr);
    } else if (Array.isArray(value)) {
      const alternatives = compileAlternatives(path, value);
      if (branches.length === 0) branches = [new Map()];
      for (const branch of branches) branch.set(path, alternatives);
    } else {
      fail(path, `"${key}" must be an object or an array`);
    }
  }
  return branches;
}

function compileOr(branches: Branch[], prefix: string, alternatives: unknown): Branch[] {
  if (!Array.isArray(alternatives)) fail(prefix, 'It must be an Array followed with $or.');
  if (alternatives.length < 2) fail(prefix, 'There must have at least 2 Objects in $or relationship.');
  return alternatives.flatMap((alternative: unknown) => {
    if (!isObject(alternative)) return fail(prefix, 'Only JSON object is allowed in array of $or relationship.');
    const copies = branches.length === 0 ? [new Map<string, Alternatives>()] : branches.map(branch => new Map(branch));
    return compileObject(copies, prefix, alternative, true);
  });
}

function compileAlternatives(path: string, values: unknown[]): Alternatives {
  if (values.length === 0) fail(path, 'Empty arrays are not allowed');
  const exact = new Set<unknown>();
  const tests: Test[] = [];
  let orAbsent = false;
  for (const value of values) {
    if (isRawNumber(value)) {
      tests.push(other => isRawNumber(other) && other.rawJSON === value.rawJSON);
    } else if (typeof value === 'string' && parseIp(value) !== undefined) {
      tests.push(ipTest(value));
    } else if (typeof value !== 'object' || value === null) {
      exact.add(value);
    } else if (Array.isArray(value)) {
      fail(path, 'Match value must be String, number, true, false, or null');
    } else {
      const test = compileMatcher(path, value as Record<string, unknown>);
      if (test === ABSENT) orAbsent = true;
      else tests.push(test);
    }
  }
  if (exact.size > 0) tests.unshift(value => exact.has(value));
  const [only] = tests;
  const test = tests.length === 1 && only !== undefined ? only : (value: Scalar) => tests.some(each => each(value));
  return { test, orAbsent };
}

const ABSENT: Test = () => false;
const EXISTS: Test = () => true;

const isText = (value: unknown): value is string => typeof value === 'string';

/** The one entry of a match expression such as `{"prefix": "a"}`. */
function single(path: string, object: Record<string, unknown>): [string, unknown] {
  const [entry, second] = Object.entries(object);
  if (entry === undefined) return fail(path, 'Match expression name not found');
  if (second !== undefined) return fail(path, 'Only one key allowed in match expression');
  return entry;
}

function compileMatcher(path: string, expression: Record<string, unknown>): Test {
  const [kind, operand] = single(path, expression);
  const text = (what = kind): string => (isText(operand) ? operand : fail(path, `${what} match pattern must be a string`));
  switch (kind) {
    case 'exactly': {
      const wanted = text('exact');
      return value => value === wanted;
    }
    case 'prefix': {
      if (isObject(operand)) return affixIgnoringCase(path, 'prefix', operand);
      const prefix = text();
      return value => isText(value) && value.startsWith(prefix);
    }
    case 'suffix': {
      if (isObject(operand)) return affixIgnoringCase(path, 'suffix', operand);
      const suffix = text();
      return value => isText(value) && value.endsWith(suffix);
    }
    case 'equals-ignore-case': {
      const pattern = new RegExp(`^${anyCase(text())}$`);
      return value => isText(value) && pattern.test(value);
    }
    case 'wildcard': {
      const matches = glob(path, text());
      return value => isText(value) && matches(value);
    }
    case 'numeric':
      return numericTest(path, operand);
    case 'cidr':
      return cidrTest(path, text());
    case 'exists':
      if (typeof operand !== 'boolean') fail(path, 'exists match pattern must be either true or false.');
      return operand ? EXISTS : ABSENT;
    case 'anything-but':
      return anythingBut(path, operand);
    default:
      return fail(path, `Unrecognized match type ${kind}`);
  }
}

function affixIgnoringCase(path: string, kind: 'prefix' | 'suffix', expression: Record<string, unknown>): Test {
  const [operator, operand] = single(path, expression);
  if (operator !== 'equals-ignore-case') fail(path, `Unsupported ${kind} pattern: ${operator}`);
  if (!isText(operand)) return fail(path, 'equals-ignore-case match pattern must be a string');
  const pattern = new RegExp(kind === 'prefix' ? `^${anyCase(operand)}` : `${anyCase(operand)}$`);
  return value => isText(value) && pattern.test(value);
}

/** Each character in its lower or its upper case, as the library does it: character by character, so that ß also is SS. */
function anyCase(text: string): string {
  return [...text]
    .map(character => {
      const [lower, upper] = [character.toLowerCase(), character.toUpperCase()].map(each => each.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
      return lower === upper ? lower : `(?:${lower}|${upper})`;
    })
    .join('');
}

/** `*` is any text; `\*` and `\\` are the characters themselves. Linear in the text, whatever the pattern. */
function glob(path: string, pattern: string): (text: string) => boolean {
  const parts = [''];
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i]!;
    if (character === '*') {
      if (pattern[i + 1] === '*') fail(path, `Consecutive wildcard characters at pos ${i + 1}`);
      parts.push('');
    } else if (character === '\\') {
      const escaped = pattern[++i];
      if (escaped !== '*' && escaped !== '\\') fail(path, `Invalid escape character at pos ${i}`);
      parts[parts.length - 1] += escaped;
    } else {
      parts[parts.length - 1] += character;
    }
  }
  const first = parts[0]!;
  if (parts.length === 1) return text => text === first;
  const last = parts.at(-1)!;
  const middle = parts.slice(1, -1);
  return text => {
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    for (const part of middle) {
      const found = text.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at <= text.length - last.length;
  };
}

function anythingBut(path: string, operand: unknown): Test {
  if (isObject(operand)) {
    const [kind, inner] = single(path, operand);
    if (!['equals-ignore-case', 'prefix', 'suffix', 'wildcard'].includes(kind)) fail(path, `Unsupported anything-but pattern: ${kind}`);
    const values: unknown[] = Array.isArray(inner) ? inner : [inner];
    if (values.length === 0) fail(path, `anything-but ${kind} list must not be empty`);
    const tests = values.map(value => {
      if (!isText(value)) return fail(path, `anything-but ${kind} pattern must be a string`);
      if (value === '' && (kind === 'prefix' || kind === 'suffix')) return fail(path, 'Null prefix/suffix not allowed');
      return compileMatcher(path, { [kind]: value });
    });
    return value => !tests.some(test => test(value));
  }
  const values: unknown[] = Array.isArray(operand) ? operand : [operand];
  const allText = values.every(isText);
  if (values.some(isRawNumber)) fail(path, 'anything-but numbers must be ones that a double holds exactly');
  if (!allText && !values.every(value => typeof value === 'number')) {
    fail(
      path,
      Array.isArray(operand)
        ? 'Inside anything but list, either all values are number or string, mixed type is not supported'
        : 'Value of anything-but must be an array or single string/number value.',
    );
  }
  if (values.length === 0) fail(path, 'anything-but list must not be empty');
  const refused = new Set<unknown>(values);
  return value => !refused.has(value);
}

const COMPARE: Record<string, (value: number, bound: number) => boolean> = {
  '=': (value, bound) => value === bound,
  '<': (value, bound) => value < bound,
  '<=': (value, bound) => value <= bound,
  '>': (value, bound) => value > bound,
  '>=': (value, bound) => value >= bound,
};

function numericTest(path: string, operand: unknown): Test {
  if (!Array.isArray(operand)) return fail(path, 'Value of numeric must be an array.');
  const terms: unknown[] = operand;
  const tests = terms.flatMap((operator, i) => {
    if (i % 2 === 1) return [];
    const compare = isText(operator) ? COMPARE[operator] : undefined;
    if (compare === undefined) return fail(path, `Unrecognized numeric range operator: ${JSON.stringify(operator)}`);
    const bound = terms[i + 1];
    if (typeof bound !== 'number') return fail(path, `Value of ${String(operator)} must be numeric`);
    return [(value: number) => compare(value, bound)];
  });
  if (tests.length === 0) fail(path, 'Invalid member in numeric match: ]');
  const [low, lowBound, high, highBound] = terms;
  if (tests.length > 1) {
    const range = tests.length === 2 && (low === '>' || low === '>=') && (high === '<' || high === '<=');
    if (!range) fail(path, 'Too many elements in numeric expression: a range is > or >= and then < or <=');
    if (!((lowBound as number) < (highBound as number))) fail(path, 'Bottom must be less than top');
  }
  return value => typeof value === 'number' && tests.every(test => test(value));
}

// --- IP addresses ---

type Ip = ipaddr.IPv4 | ipaddr.IPv6;

/** An IPv4 address written as IPv6 is that IPv4 address. One with a dotted tail (::ffff:1.2.3.4) is plain text to the library of AWS. */
function parseIp(text: string): Ip | undefined {
  const isAddress = text.includes(':')
    ? /^[0-9a-fA-F:]+$/.test(text) && ipaddr.IPv6.isValid(text)
    : text.length <= 15 && /^\d+\.\d+\.\d+\.\d+$/.test(text) && text.split('.').every((octet) => Number(octet) < 256);
  if (!isAddress) return undefined;
  // Leading zeros do not make a number octal there.
  return ipaddr.process(text.replace(/\b0+(?=\d+(\.|$))/g, ''));
}

function ipTest(text: string): Test {
  const wanted = parseIp(text)!;
  const bits = wanted.toByteArray().length * 8;
  return value => value === text || isWithin(value, wanted, bits);
}

function cidrTest(path: string, text: string): Test {
  const [address = '', mask, ...rest] = text.split('/');
  if (mask === undefined || mask === '' || rest.length > 0) return fail(path, "Malformed CIDR, one '/' required");
  if (!/^[+-]?\d+$/.test(mask)) fail(path, 'Malformed CIDR, mask bits must be an integer');
  if (Number(mask) < 0) fail(path, 'Malformed CIDR, mask bits must not be negative');
  const network = parseIp(address);
  if (network === undefined) return fail(path, `Nonstandard IP address: ${address}`);
  const bits = network.toByteArray().length * 8;
  if (Number(mask) >= bits) fail(path, `IPv${bits === 32 ? 4 : 6} mask bits must be < ${bits}`);
  return value => isWithin(value, network, Number(mask));
}

function isWithin(value: Scalar, network: Ip, bits: number): boolean {
  const ip = isText(value) ? parseIp(value) : undefined;
  return ip?.kind() === network.kind() && ip.match(network, bits);
}
