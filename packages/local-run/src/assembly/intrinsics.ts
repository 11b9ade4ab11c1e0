import type { Template } from './assembly.ts';

/**
 * A value of the template that can't be known here. It names the place, and is an error only where the value is really
 * needed: most of what a template refers to (networks, roles, keys) has no meaning on this machine.
 */
export class UnresolvedError extends Error {
  override readonly name = 'UnresolvedError';
}

/** What the names in a template stand for. */
export interface References {
  readonly stackName: string;
  readonly account: string;
  readonly region: string;
  /** Values given to the template's parameters, if any. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  ref(logicalId: string, at: string): unknown;
  getAtt(logicalId: string, attribute: string, at: string): unknown;
  importValue(name: string, at: string): unknown;
  stackOutput(stackName: string, output: string, at: string): unknown;
  ssmParameter(name: string, at: string): string;
  secretValue(id: string, at: string): string;
}

const NO_VALUE = Symbol('AWS::NoValue');

/** Evaluates the intrinsic functions of one template. */
export class Evaluator {
  readonly #template: Template;
  readonly #references: References;
  readonly #conditions = new Map<string, boolean>();
  /** What stands for a value that can't be known; undefined: the error is thrown. */
  #placeholder: ((error: UnresolvedError) => string) | undefined;

  constructor(template: Template, references: References) {
    this.#template = template;
    this.#references = references;
  }

  /** The value with all its functions evaluated; `at` names the place for errors. */
  resolve(value: unknown, at: string): unknown {
    const result = this.#evaluate(value, at);
    return result === NO_VALUE ? undefined : result;
  }

  /** The same, with a text from `placeholder` instead of every value that can't be known. */
  resolveLeniently(value: unknown, at: string, placeholder: (error: UnresolvedError) => string): unknown {
    const before = this.#placeholder;
    this.#placeholder = placeholder;
    try {
      return this.resolve(value, at);
    } finally {
      this.#placeholder = before;
    }
  }

  /** Whether a resource or output with this condition is part of the stack. */
  condition(name: string | undefined, at: string): boolean {
    if (name === undefined) return true;
    const known = this.#conditions.get(name);
    if (known !== undefined) return known;
    const definition = this.#template.Conditions?.[name];
    if (definition === undefined) throw new UnresolvedError(`${at}: the template has no condition ${name}.`);
    const result = this.#boolean(definition, `${at} condition ${name}`);
    this.#conditions.set(name, result);
    return result;
  }

  #evaluate(value: unknown, at: string): unknown {
    if (typeof value === 'string') return this.#dynamic(value, at);
    if (Array.isArray(value)) {
      return value.map((item, index) => this.#evaluate(item, `${at}[${index}]`)).filter((item) => item !== NO_VALUE);
    }
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value);
    const [first] = entries;
    if (entries.length === 1 && first) {
      const [key, argument] = first;
      if (key === 'Ref' || key === 'Condition' && typeof argument === 'string' || key.startsWith('Fn::')) {
        // An IAM policy has objects with the only key Condition, but theirs is an object.
        return this.#call(key, argument, at);
      }
    }
    const result: Record<string, unknown> = {};
    for (const [key, item] of entries) {
      const resolved = this.#evaluate(item, `${at}.${key}`);
      if (resolved !== NO_VALUE) result[key] = resolved;
    }
    return result;
  }

  #call(name: string, argument: unknown, at: string): unknown {
    try {
      const result = this.#function(name, argument, at);
      // A dynamic reference is often joined from parts.
      return typeof result === 'string' ? this.#dynamic(result, at) : result;
    } catch (error) {
      if (error instanceof UnresolvedError && this.#placeholder) return this.#placeholder(error);
      throw error;
    }
  }

  #function(name: string, argument: unknown, at: string): unknown {
    const references = this.#references;
    switch (name) {
      case 'Ref':
        return this.#ref(this.#string(argument, at), at);
      case 'Condition':
        return this.condition(this.#string(argument, at), at);
      case 'Fn::GetAtt': {
        const [id, ...attribute] = typeof argument === 'string' ? argument.split('.') : this.#list(argument, at).map((part) => this.#string(part, at));
        return references.getAtt(id ?? '', attribute.join('.'), at);
      }
      case 'Fn::Join': {
        const [separator, parts] = this.#arguments(argument, 2, name, at);
        return this.#list(parts, at).map((part) => this.#string(part, at)).join(this.#string(separator, at));
      }
      case 'Fn::Sub':
        return this.#sub(argument, at);
      case 'Fn::Select': {
        const [index, list] = this.#arguments(argument, 2, name, at);
        const items = this.#list(list, at);
        const item = items[Number(index)];
        if (item === undefined) throw new UnresolvedError(`${at}: Fn::Select takes element ${String(index)} of a list of ${items.length}.`);
        return item;
      }
      case 'Fn::Split': {
        const [separator, text] = this.#arguments(argument, 2, name, at);
        return this.#string(text, at).split(this.#string(separator, at));
      }
      case 'Fn::FindInMap': {
        const [map, first, second, options] = this.#list(this.#evaluate(argument, at), at);
        const found = this.#template.Mappings?.[String(map)]?.[String(first)]?.[String(second)];
        if (found !== undefined) return found;
        if (typeof options === 'object' && options !== null && 'DefaultValue' in options) return options.DefaultValue;
        throw new UnresolvedError(`${at}: the mapping ${String(map)} has no ${String(first)}, ${String(second)}.`);
      }
      case 'Fn::If': {
        const [condition, yes, no] = this.#raw(argument, 3, name, at);
        // Only the branch that counts is evaluated.
        return this.#evaluate(this.condition(this.#string(condition, at), at) ? yes : no, at);
      }
      case 'Fn::Equals':
      case 'Fn::And':
      case 'Fn::Or':
      case 'Fn::Not':
        return this.#boolean({ [name]: argument }, at);
      case 'Fn::ImportValue':
        return references.importValue(this.#string(this.#evaluate(argument, at), at), at);
      case 'Fn::GetStackOutput': {
        const { StackName, OutputName } = this.#evaluate(argument, at) as { StackName?: unknown; OutputName?: unknown };
        return references.stackOutput(this.#string(StackName, at), this.#string(OutputName, at), at);
      }
      case 'Fn::Base64':
        return Buffer.from(this.#string(this.#evaluate(argument, at), at)).toString('base64');
      case 'Fn::GetAZs': {
        const region = this.#evaluate(argument, at) || references.region;
        return ['a', 'b', 'c'].map((zone) => `${this.#string(region, at)}${zone}`);
      }
      case 'Fn::Cidr': {
        const [block, count, bits = 8] = this.#list(this.#evaluate(argument, at), at);
        return subnets(this.#string(block, at), Number(count), Number(bits), at);
      }
      case 'Fn::Length':
        return this.#list(this.#evaluate(argument, at), at).length;
      case 'Fn::ToJsonString':
        return JSON.stringify(this.#evaluate(argument, at));
      default:
        throw new UnresolvedError(`${at}: the local run does not know the function ${name}.`);
    }
  }

  #ref(name: string, at: string): unknown {
    const { account, region, stackName } = this.#references;
    switch (name) {
      case 'AWS::AccountId': return account;
      case 'AWS::Region': return region;
      case 'AWS::Partition': return 'aws';
      case 'AWS::URLSuffix': return 'amazonaws.com';
      case 'AWS::StackName': return stackName;
      case 'AWS::StackId': return `arn:aws:cloudformation:${region}:${account}:stack/${stackName}/local`;
      case 'AWS::NotificationARNs': return [];
      case 'AWS::NoValue': return NO_VALUE;
    }
    const parameter = this.#template.Parameters?.[name];
    return parameter ? this.#parameter(name, parameter, at) : this.#references.ref(name, at);
  }

  #parameter(name: string, parameter: { readonly Type: string; readonly Default?: unknown }, at: string): unknown {
    const value = this.#references.parameters?.[name] ?? parameter.Default;
    if (value === undefined) throw new UnresolvedError(`${at}: the parameter ${name} of stack ${this.#references.stackName} has no default value.`);
    const ssm = /^AWS::SSM::Parameter::Value<(.+)>$/.exec(parameter.Type);
    const text = ssm ? this.#references.ssmParameter(String(value), at) : value;
    const type = ssm?.[1] ?? parameter.Type;
    if (type === 'CommaDelimitedList' || type.startsWith('List<')) return Array.isArray(text) ? text : String(text).split(',').map((item) => item.trim());
    return text;
  }

  #sub(argument: unknown, at: string): string {
    const [text, variables] = Array.isArray(argument) ? argument as [unknown, Record<string, unknown>] : [argument, {}];
    return this.#string(text, at).replace(/\$\{([^}]*)\}/g, (whole, name: string) => {
      // ${!Literal} stands for ${Literal}.
      if (name.startsWith('!')) return `\${${name.slice(1)}}`;
      const key = name.trim();
      if (Object.hasOwn(variables ?? {}, key)) return this.#string(this.#evaluate(variables[key], `${at} ${whole}`), at);
      return this.#string(this.#call(key.includes('.') && !key.includes('::') ? 'Fn::GetAtt' : 'Ref', key, `${at} ${whole}`), at);
    });
  }

  #boolean(definition: unknown, at: string): boolean {
    if (typeof definition === 'boolean') return definition;
    if (definition === 'true' || definition === 'false') return definition === 'true';
    const [[name, argument] = []] = Object.entries(definition ?? {});
    switch (name) {
      case 'Condition':
        return this.condition(this.#string(argument, at), at);
      case 'Fn::Equals': {
        const [left, right] = this.#arguments(argument, 2, name, at);
        return JSON.stringify(scalar(left)) === JSON.stringify(scalar(right));
      }
      case 'Fn::And':
        return this.#list(argument, at).every((item) => this.#boolean(item, at));
      case 'Fn::Or':
        return this.#list(argument, at).some((item) => this.#boolean(item, at));
      case 'Fn::Not':
        return !this.#boolean(this.#list(argument, at)[0], at);
      default:
        throw new UnresolvedError(`${at}: ${JSON.stringify(definition)} is no condition.`);
    }
  }

  #dynamic(text: string, at: string): string {
    if (!text.includes('{{resolve:')) return text;
    return text.replace(/\{\{resolve:(ssm|ssm-secure|secretsmanager):([^{}]+)\}\}/g, (_, service: string, rest: string) => {
      if (service !== 'secretsmanager') return this.#references.ssmParameter(/^(.*?)(?::\d+)?$/.exec(rest)?.[1] ?? rest, at);
      const [, id = rest, key] = /^(arn:(?:[^:]*:){5}[^:]*|[^:]+)(?::SecretString(?::([^:]*))?.*)?$/.exec(rest) ?? [];
      const value = this.#references.secretValue(id, at);
      if (!key) return value;
      const field = (JSON.parse(value) as Record<string, unknown>)[key];
      if (field === undefined) throw new UnresolvedError(`${at}: the secret ${id} has no field ${key}.`);
      return String(field);
    });
  }

  #string(value: unknown, at: string): string {
    const resolved = typeof value === 'object' && value !== null ? this.#evaluate(value, at) : value;
    if (typeof resolved === 'string') return this.#dynamic(resolved, at);
    if (typeof resolved === 'number' || typeof resolved === 'boolean') return String(resolved);
    throw new UnresolvedError(`${at}: a text is needed where the template has ${JSON.stringify(value)}.`);
  }

  #list(value: unknown, at: string): unknown[] {
    const resolved = Array.isArray(value) ? value : this.#evaluate(value, at);
    if (!Array.isArray(resolved)) throw new UnresolvedError(`${at}: a list is needed where the template has ${JSON.stringify(value)}.`);
    return resolved.map((item) => (typeof item === 'object' && item !== null ? this.#evaluate(item, at) : item)).filter((item) => item !== NO_VALUE);
  }

  #raw(argument: unknown, count: number, name: string, at: string): unknown[] {
    if (!Array.isArray(argument) || argument.length !== count) throw new UnresolvedError(`${at}: ${name} takes ${count} arguments.`);
    return argument;
  }

  #arguments(argument: unknown, count: number, name: string, at: string): unknown[] {
    return this.#raw(argument, count, name, at).map((item) => this.#evaluate(item, at));
  }
}

/** CloudFormation compares texts: the number 1 and the text "1" are equal to it. */
function scalar(value: unknown): unknown {
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : value;
}

function subnets(block: string, count: number, bits: number, at: string): string[] {
  const [address = '', prefix = ''] = block.split('/');
  const width = address.includes(':') ? 128 : 32;
  const base = width === 32 ? ipv4(address) : ipv6(address);
  const length = width - bits;
  if (base === undefined || !(Number(prefix) <= length) || count > 2 ** (length - Number(prefix))) {
    throw new UnresolvedError(`${at}: Fn::Cidr cannot take ${count} blocks of ${bits} bits from ${block}.`);
  }
  return Array.from({ length: count }, (_, index) => {
    const value = base + (BigInt(index) << BigInt(bits));
    return `${width === 32 ? ipv4Text(value) : ipv6Text(value)}/${length}`;
  });
}

function ipv4(text: string): bigint | undefined {
  const parts = text.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !(part >= 0 && part <= 255))) return undefined;
  return parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

function ipv4Text(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
}

function ipv6(text: string): bigint | undefined {
  const [head = '', tail] = text.split('::');
  const groups = (part: string) => (part ? part.split(':') : []);
  const zeros = tail === undefined ? 0 : 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array<string>(Math.max(zeros, 0)).fill('0'), ...groups(tail ?? '')];
  if (all.length !== 8 || all.some((group) => !/^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

function ipv6Text(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - index * 16)) & 0xffffn).toString(16));
  // The longest run of zeros is left out, once.
  return groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::');
}
