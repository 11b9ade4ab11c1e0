import type { Assembly } from './assembly/assembly.ts';
import type { Model, Resource } from './assembly/model.ts';
import type { PreparedRun } from './prepare.ts';

/** The programs in containers, which a deployment replaces. */
const MANIFESTS = 'Custom::AWSCDK-EKS-KubernetesResource';
/** It changes with every version of the CDK, and nothing depends on it. */
const METADATA = 'AWS::CDK::Metadata';

/** The names of the jobs that ran, and of the workloads with a new version. */
interface Deployed {
  readonly jobs: string[];
  readonly workloads: string[];
}

/**
 * Replaces the programs of a run by those of another version of its stacks. Everything else stays, and is named in a warning if it differs.
 */
export async function deploy(
  { context, model, programsOf }: PreparedRun, version: Assembly, signal: AbortSignal = new AbortController().signal,
): Promise<Deployed> {
  const next = programsOf(version);
  for (const sentence of differences(model, next.model)) context.report(sentence);
  const done = await context.workloads.replace(next.workloads, signal);
  context.log('info', 'Deployed another version.', done);
  return done;
}

function differences(model: Model, next: Model): string[] {
  const known = textsOf(model);
  const wanted = textsOf(next);
  return [
    ...[...wanted].filter(([path, text]) => known.get(path) !== text).map(([path]) =>
      `The new version ${known.has(path) ? 'changes' : 'adds'} ${path}: this run goes on ${known.has(path) ? 'as before' : 'without it'}.`),
    ...[...known.keys()].filter((path) => !wanted.has(path)).map((path) => `The new version has no ${path}: this run keeps it.`),
  ];
}

function textsOf({ resources }: Model): Map<string, string> {
  const others = resources.filter(({ type }) => type !== MANIFESTS && type !== METADATA);
  return new Map(others.map(({ path, source }: Resource) => [path, JSON.stringify([source.Type, source.Properties])]));
}
