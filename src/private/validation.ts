import type { Duration } from 'aws-cdk-lib';
import { Token } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** An error with the path of the construct that got the wrong input. */
export function invalid(scope: IConstruct, message: string): Error {
  return new Error(`${message} (in '${scope.node.path}')`);
}

/** Adds the path of the construct to an error of a computation. */
export function located<T>(scope: IConstruct, compute: () => T): T {
  try {
    return compute();
  } catch (error) {
    throw invalid(scope, (error as Error).message);
  }
}

/** Refuses a whole number outside of its limits; a token is only known when the stack is deployed, so it passes. */
export function requireInteger(scope: IConstruct, name: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || Token.isUnresolved(value)) { return; }
  if (!Number.isInteger(value) || value < min || value > max) {
    throw invalid(scope, `${name} must be a whole number between ${min} and ${max}, got ${value}`);
  }
}

/** Refuses anything but blocks of addresses, and an empty list, too: for Kubernetes, no destination means every destination. */
export function requireBlocks(scope: IConstruct, name: string, cidrs: string[] | undefined): void {
  if (cidrs === undefined || Token.isUnresolved(cidrs)) { return; }
  const wrong = cidrs.find((cidr) => !Token.isUnresolved(cidr) && !/^[0-9a-f.:]+\/\d{1,3}$/i.test(cidr));
  if (cidrs.length === 0 || wrong !== undefined) {
    throw invalid(scope, `${name} must have at least one block of addresses such as '10.0.0.0/16', and nothing else, got ${JSON.stringify(cidrs)}`);
  }
}

/** Refuses a duration outside of its limits; a token passes. */
export function requireDuration(scope: IConstruct, name: string, value: Duration | undefined, min: Duration, max: Duration): void {
  if (value === undefined || value.isUnresolved()) { return; }
  const milliseconds = value.toMilliseconds();
  if (milliseconds < min.toMilliseconds() || milliseconds > max.toMilliseconds()) {
    throw invalid(scope, `${name} must be between ${min.toHumanString()} and ${max.toHumanString()}, got ${value.toHumanString()}`);
  }
}

/** Refuses fractions of a second, which CloudFormation doesn't accept. */
export function requireSeconds(scope: IConstruct, durations: { [name: string]: Duration | undefined }): void {
  for (const [name, value] of Object.entries(durations)) {
    if (value && !value.isUnresolved() && value.toMilliseconds() % 1000 !== 0) {
      throw invalid(scope, `${name} must be whole seconds, got ${value.toMilliseconds() / 1000}`);
    }
  }
}

/** Refuses props that would configure an existing resource. */
export function refuseWith(scope: IConstruct, existing: string, configured: { [prop: string]: unknown }): void {
  for (const [prop, value] of Object.entries(configured)) {
    if (value !== undefined) {
      throw invalid(scope, `${prop} can't be given together with ${existing}: set it where ${existing} is defined, or leave ${existing} out`);
    }
  }
}

/** Refuses props that configure something that doesn't exist. */
export function refuseWithout(scope: IConstruct, needed: string, configured: { [prop: string]: unknown }): void {
  for (const [prop, value] of Object.entries(configured)) {
    if (value !== undefined) { throw invalid(scope, `${prop} needs ${needed}: give that too, or leave ${prop} out`); }
  }
}

/** Refuses two props with the same meaning. */
export function refuseBoth(scope: IConstruct, props: { [prop: string]: unknown }): void {
  const given = Object.entries(props).filter(([, value]) => value !== undefined).map(([prop]) => prop);
  if (given.length > 1) { throw invalid(scope, `${given.join(' and ')} can't be given together: choose one`); }
}

/** Returns whether two values are known and different. */
export function differ(one: string, other: string): boolean {
  return !Token.isUnresolved(one) && !Token.isUnresolved(other) && one !== other;
}

/** Refuses a second call of a method that makes the child with this id. */
export function refuseSecondCall(scope: IConstruct, id: string, method: string, hint = ''): void {
  if (scope.node.tryFindChild(id)) { throw invalid(scope, `${method}() can be called once${hint}`); }
}
