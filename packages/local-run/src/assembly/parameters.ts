import type { StackArtifact } from './assembly.ts';
import { LocalRunError } from '../errors.ts';

/** Values of parameters of templates, by `NAME` for every stack that has it, or by `STACK:NAME` for one. */
export type ParameterValues = Readonly<Record<string, string>>;

/** Every template of the CDK has this one, and nobody gives it. */
const BOOTSTRAP_VERSION = 'BootstrapVersion';

/** The given values of the parameters of one stack. A value for this stack alone wins. */
export function parametersOf({ name: stack, template }: Pick<StackArtifact, 'name' | 'template'>, given: ParameterValues): Record<string, string> {
  const values: Record<string, string> = {};
  for (const name of Object.keys(template.Parameters ?? {})) {
    const key = [`${stack}:${name}`, name].find((each) => Object.hasOwn(given, each));
    if (key !== undefined) values[name] = String(given[key]);
  }
  return values;
}

/**
 * Each name has to be one of a parameter.
 *
 * @throws LocalRunError that lists the parameters of the stacks
 */
export function checkParameters(stacks: readonly StackArtifact[], given: ParameterValues): void {
  const known = stacks.flatMap(({ name: stack, template }) => Object.keys(template.Parameters ?? {}).map((name) => ({ stack, name })));
  for (const key of Object.keys(given)) {
    if (known.some(({ stack, name }) => key === name || key === `${stack}:${name}`)) continue;
    const names = known.filter(({ name }) => name !== BOOTSTRAP_VERSION).map(({ stack, name }) => `${stack}:${name}`);
    throw new LocalRunError(`--parameter ${key}: no stack of this run has this parameter; there is ${names.join(', ') || 'none'}.`);
  }
}
