import { validation } from './errors.ts';

/** @throws AwsError as the API does for a name that it does not take */
export function checkName(field: string, value: unknown, pattern: RegExp): void {
  if (typeof value !== 'string' || !pattern.test(value)) {
    throw validation(
      `1 validation error detected: Value '${String(value)}' at '${field}' failed to satisfy constraint: ` +
        `Member must satisfy regular expression pattern: ${pattern.source}`,
    );
  }
}

export function checkRange(field: string, value: number | undefined, least: number, most: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= least && value <= most)) {
    throw validation(`${field} must be a whole number from ${least} to ${most}, not ${value}.`);
  }
}
