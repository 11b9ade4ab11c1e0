import { invalidValue, missing, serialization } from './errors.ts';
import type { Input } from '../http/aws-json.ts';

// Reads the parameters of a request. Fields that the API does not know are ignored, as AWS does; wrong types are not.

export function text(input: Input, name: string): string | undefined {
  const value = input[name] ?? undefined;
  if (value !== undefined && typeof value !== 'string') throw serialization(`${name} must be a string.`);
  return value;
}

export function requiredText(input: Input, name: string): string {
  const value = text(input, name);
  if (value === undefined || value === '') throw missing(name);
  return value;
}

export function integer(input: Input, name: string): number | undefined {
  const value = input[name] ?? undefined;
  if (value !== undefined && !Number.isInteger(value)) throw serialization(`${name} must be a whole number.`);
  return value as number | undefined;
}

/** A whole number between two limits, both of which it may have. */
export function integerWithin(input: Input, name: string, least: number, most: number, reason: string): number | undefined {
  const value = integer(input, name);
  if (value !== undefined && (value < least || value > most)) throw invalidValue(value, name, reason);
  return value;
}

export function list(input: Input, name: string): unknown[] {
  const value = input[name] ?? [];
  if (!Array.isArray(value)) throw serialization(`${name} must be a list.`);
  return value;
}

export function texts(input: Input, name: string): string[] {
  const values = list(input, name);
  if (!values.every((value) => typeof value === 'string')) throw serialization(`${name} must be a list of strings.`);
  return values;
}

export function structure(value: unknown, name: string): Input {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw serialization(`${name} must be a structure.`);
  return value as Input;
}

/** A map; without one, an empty map. */
export function map(input: Input, name: string): Input {
  return structure(input[name] ?? {}, name);
}

export function mapOfTexts(input: Input, name: string): Record<string, string> {
  const values = map(input, name);
  for (const key of Object.keys(values)) if (typeof values[key] !== 'string') throw serialization(`${name} must be a map of strings.`);
  return values as Record<string, string>;
}
