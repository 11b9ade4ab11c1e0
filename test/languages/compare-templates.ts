/** What a template consists of: resources, outputs and so on by their logical ids. */
export interface Template {
  readonly [section: string]: unknown;
}

/**
 * The first difference between the templates that two programs made, as a sentence; undefined if there is none.
 *
 * The hashes of assets are left out: the packages of a language bring their own versions of the AWS CLI and of kubectl.
 */
export function firstDifference(expected: Template, actual: Template): string | undefined {
  for (const section of union(expected, actual)) {
    const [left, right] = [expected[section], actual[section]];
    if (!isObject(left) || !isObject(right)) {
      const difference = compare(left, right, section);
      if (difference !== undefined) { return difference; }
      continue;
    }
    for (const id of union(left, right)) {
      if (!(id in right)) { return `${section}.${id} is missing${typeOf(left[id])}`; }
      if (!(id in left)) { return `${section}.${id} is too much${typeOf(right[id])}`; }
      const difference = compare(left[id], right[id], `${section}.${id}`);
      if (difference !== undefined) { return difference; }
    }
  }
  return undefined;
}

function compare(left: unknown, right: unknown, path: string): string | undefined {
  const [expected, actual] = [parsed(left), parsed(right)];
  if (Array.isArray(expected) && Array.isArray(actual)) {
    if (expected.length !== actual.length) { return `${path} has ${actual.length} elements instead of ${expected.length}`; }
    return first(expected.keys(), index => compare(expected[index], actual[index], `${path}[${index}]`));
  }
  if (isObject(expected) && isObject(actual)) {
    return first(union(expected, actual), key => compare(expected[key], actual[key], `${path}.${key}`));
  }
  return comparable(expected) === comparable(actual) ? undefined : `${path} is ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`;
}

/** JSON that is written as text, such as a manifest, as what it says: its keys have no order, and Go sorts them. */
function parsed(value: unknown): unknown {
  const join = isObject(value) ? value['Fn::Join'] : undefined;
  const [delimiter, parts] = Array.isArray(join) ? join : ['', [value]];
  if (!Array.isArray(parts)) { return value; }
  const text = parts.map(part => typeof part === 'string' ? part : `\${${Object.values(part ?? {}).flat().join('.')}}`).join(delimiter);
  if (!/^[[{]/.test(text)) { return value; }
  try {
    return JSON.parse(text);
  } catch {
    return value;
  }
}

function first<T>(values: Iterable<T>, check: (value: T) => string | undefined): string | undefined {
  for (const value of values) {
    const found = check(value);
    if (found !== undefined) { return found; }
  }
  return undefined;
}

function isObject(value: unknown): value is { [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function union(left: object, right: object): string[] {
  return [...new Set([...Object.keys(left), ...Object.keys(right)])];
}

function comparable(value: unknown): string {
  return String(JSON.stringify(value)).replace(/[0-9a-f]{64}/g, '<hash>');
}

function typeOf(resource: unknown): string {
  return isObject(resource) && typeof resource.Type === 'string' ? ` (${resource.Type})` : '';
}
