import ipaddr from 'ipaddr.js';
import { LocalRunError } from '../errors.ts';
import type { Template } from './assembly.ts';

/**
 * A value of the template that cannot be known here. It names the place, and is an error only where the value is really needed: most
 * references of a template (networks, roles, keys) have no meaning on this machine.
 */
export class UnresolvedError extends LocalRunError {
  override readonly name = 'UnresolvedError';
}

/** The values of the names in a template. */
export interface References {
  readonly stackName: string;
  readonly account: string;
  readonly region: string;
  /** The values of the parameters. @default - their own defaults */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** Another stack gives the parameters, not the user. @default false */
  readonly nested?: boolean;
  ref(logicalId: string, at: string): unknown;
  getAtt(logicalId: string, attribute: string, at: string): unknown;
  importValue(name: string, at: string): unknown;
  stackOutput(stackName: string, output: string, at: string): unknown;
  ssmParameter(name: string, at: string): string;
  secretValue(id: string, at: string): string;
}

const NO_VALUE = Symbol('AWS::NoValue');
const CONDITION_FUNCTIONS = new Set(['Fn::Equals', 'Fn::And', 'Fn::Or', 'Fn::Not']);

/** Evaluates the intrinsic functions of one template. */
export class Evaluator {
  readonly #template: Template;
  readonly #references: References;
  readonly #conditions = new Map<string, boolean>();
  /** Makes the text for a value that cannot be known. Without it, the error is thrown. */
  #placeholder: ((error: UnresolvedError) => string) | undefined;
  readonly #functions: Readonly<Record<string, (argument: unknown, at: string) => unknown>> = {
    'Ref': (argument, at) => this.#ref(this.#string(argument, at), at),
    'Condition': (argument, at) => this.condition(this.#string(argument, at), at),
    'Fn::GetAtt': (argument, at) => {
      const parts = typeof argument === 'string' ? argument.split('.') : this.#list(argument, at).map((part) => this.#string(part, at));
      const [id = '', ...attribute] = parts;
      return this.#references.getAtt(id, attribute.join('.'), at);
    },
    'Fn::Join': (argument, at) => {
      const [separator, parts] = this.#arguments(argument, 2, 'Fn::Join', at);
      return this.#list(parts, at).map((part) => this.#string(part, at)).join(this.#string(separator, at));
    },
    'Fn::Sub': (argument, at) => this.#sub(argument, at),
    'Fn::Select': (argument, at) => {
      const [index, list] = this.#arguments(argument, 2, 'Fn::Select', at);
      const items = this.#list(list, at);
      const item = items[Number(index)];
      if (item === undefined) throw new UnresolvedError(`${at}: Fn::Select takes element ${String(index)} of a list of ${items.length}.`);
      return item;
    },
    'Fn::Split': (argument, at) => {
      const [separator, text] = this.#arguments(argument, 2, 'Fn::Split', at);
      return this.#string(text, at).split(this.#string(separator, at));
    },
    'Fn::FindInMap': (argument, at) => {
      const [map, first, second, options] = this.#list(this.#evaluate(argument, at), at);
      const found = this.#template.Mappings?.[String(map)]?.[String(first)]?.[String(second)];
      if (found !== undefined) return found;
      if (typeof options === 'object' && options !== null && 'DefaultValue' in options) return options.DefaultValue;
      throw new UnresolvedError(`${at}: the mapping ${String(map)} has no ${String(first)}, ${String(second)}.`);
    },
    'Fn::If': (argument, at) => {
      const [condition, yes, no] = this.#raw(argument, 3, 'Fn::If', at);
      // Only the branch that counts is evaluated.
      return this.#evaluate(this.condition(this.#string(condition, at), at) ? yes : no, at);
    },
    'Fn::ImportValue': (argument, at) => this.#references.importValue(this.#string(this.#evaluate(argument, at), at), at),
    'Fn::GetStackOutput': (argument, at) => {
      const { StackName, OutputName } = this.#evaluate(argument, at) as { StackName?: unknown; OutputName?: unknown };
      return this.#references.stackOutput(this.#string(StackName, at), this.#string(OutputName, at), at);
    },
    'Fn::Base64': (argument, at) => Buffer.from(this.#string(this.#evaluate(argument, at), at)).toString('base64'),
    'Fn::GetAZs': (argument, at) => {
      const region = this.#evaluate(argument, at) || this.#references.region;
      return ['a', 'b', 'c'].map((zone) => `${this.#string(region, at)}${zone}`);
    },
    'Fn::Cidr': (argument, at) => {
      const [block, count, bits = 8] = this.#list(this.#evaluate(argument, at), at);
      return subnets(this.#string(block, at), Number(count), Number(bits), at);
    },
    'Fn::Length': (argument, at) => this.#list(this.#evaluate(argument, at), at).length,
    'Fn::ToJsonString': (argument, at) => JSON.stringify(this.#evaluate(argument, at)),
  };

  constructor(template: Template, references: References) {
    this.#template = template;
    this.#references = references;
  }

  /** The value with all its functions evaluated. `at` names the place for errors. */
  resolve(value: unknown, at: string): unknown {
    const result = this.#evaluate(value, at);
    return result === NO_VALUE ? undefined : result;
  }

  /** The same as `resolve`, with a text from `placeholder` instead of every value that cannot be known. */
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
    if (CONDITION_FUNCTIONS.has(name)) return this.#boolean({ [name]: argument }, at);
    const run = this.#functions[name];
    if (!run) throw new UnresolvedError(`${at}: the local run does not know the function ${name}.`);
    return run(argument, at);
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
    if (value === undefined) {
      const { stackName, nested = false } = this.#references;
      const way = nested ? 'the stack around it gives none' : `give one with --parameter ${name}=VALUE`;
      throw new UnresolvedError(`${at}: the parameter ${name} of stack ${stackName} has no value: ${way}.`);
    }
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
      const field = (json(value) as Record<string, unknown> | undefined)?.[key];
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

/** Undefined for a text that is no JSON. The error of the parser would show the text, and with it a secret. */
function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** CloudFormation compares texts: the number 1 and the text "1" are equal to it. */
function scalar(value: unknown): unknown {
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : value;
}

function subnets(block: string, count: number, bits: number, at: string): string[] {
  const [address = '', prefix = ''] = block.split('/');
  const bytes = ipaddr.IPv4.isValidFourPartDecimal(address) || ipaddr.IPv6.isValid(address) ? ipaddr.parse(address).toByteArray() : [];
  const length = bytes.length * 8 - bits;
  if (bytes.length === 0 || !(Number(prefix) <= length) || count > 2 ** (length - Number(prefix))) {
    throw new UnresolvedError(`${at}: Fn::Cidr cannot take ${count} blocks of ${bits} bits from ${block}.`);
  }
  const base = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  return Array.from({ length: count }, (_, index) => {
    const value = (base + BigInt(index) * 2n ** BigInt(bits)).toString(16).padStart(bytes.length * 2, '0');
    return `${ipaddr.fromByteArray([...Buffer.from(value, 'hex')]).toString()}/${length}`;
  });
}
