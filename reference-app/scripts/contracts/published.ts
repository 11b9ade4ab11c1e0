import { isDeepStrictEqual } from 'node:util';
import { closedObjects, conflicts, withoutAnnotations } from './compatibility.ts';
import { formatJson, type JsonSchema } from './json-schema.ts';
import { sampleEvents } from './samples.ts';

/** An event as the code knows it. */
export interface Contract {
  /** CloudEvents type, `order.created.v2` */
  readonly type: string;
  /** The name that the versions have in common, `order.created` */
  readonly name: string;
  readonly major: number;
  readonly detailType: string;
  readonly schema: JsonSchema;
  /** Messages for its first file. @default - made of the schema */
  readonly samples?: readonly object[];
}

/** A version that was published: a file `<name>/<major>.<minor>.json`. */
export interface Published {
  readonly name: string;
  readonly major: number;
  readonly minor: number;
  /** JSON Schema with samples as its `examples`. */
  readonly schema: JsonSchema;
}

export interface Plan {
  /** Path below `contracts/` → text. */
  readonly writes: ReadonlyMap<string, string>;
  readonly problems: readonly string[];
}

export function fileOf({ name, major, minor }: Omit<Published, 'schema'>): string {
  return `${name}/${major}.${minor}.json`;
}

/**
 * The files that have to be written so that the published contracts are those of the code, or the reasons against it. `accepts` throws for
 * a message that a consumer of now would refuse.
 */
export function planContracts(current: readonly Contract[], published: readonly Published[], accepts: (event: unknown) => void): Plan {
  const writes = new Map<string, string>();
  const problems: string[] = [];
  for (const contract of current) {
    const { name, major, schema } = contract;
    const versions = published.filter((one) => one.name === name && one.major === major).sort((a, b) => a.minor - b.minor);
    const closed = closedObjects(schema).map(({ field, problem }) => `${name} v${major}: ${field} ${problem}.`);
    const latest = versions.at(-1);
    const gap = versions.findIndex(({ minor }, i) => minor !== i);
    if (gap >= 0) {
      problems.push(`${name} v${major}: contracts/${fileOf({ name, major, minor: gap })} is missing; what was published stays (restore the file).`);
    }
    if (!latest) {
      problems.push(...closed);
      if (closed.length === 0) writes.set(fileOf({ name, major, minor: 0 }), formatJson(fileContents(contract, 0, samplesOf(contract))));
      continue;
    }
    // What conflicts with several versions is said once.
    const found = new Map(versions.flatMap((version) =>
      conflicts(version.schema, schema).map((conflict) => [conflict.field + conflict.problem, { version, ...conflict }])));
    for (const { version, field, problem } of found.values()) {
      problems.push(`${name} v${major}: ${field} ${problem}.\n  Published as contracts/${fileOf(version)}.`);
    }
    problems.push(...closed);
    if (found.size > 0) problems.push(howToVersion(contract));
    if (found.size + closed.length > 0) continue;
    if (!isDeepStrictEqual(withoutAnnotations(latest.schema), withoutAnnotations(schema))) {
      const minor = latest.minor + 1;
      writes.set(fileOf({ name, major, minor }), formatJson(fileContents(contract, minor, samplesOf(contract))));
    } else {
      const same = fileContents(contract, latest.minor, latest.schema.examples ?? []);
      if (!isDeepStrictEqual(same, latest.schema)) writes.set(fileOf(latest), formatJson(same));
    }
  }
  for (const version of published) {
    const file = `contracts/${fileOf(version)}`;
    if (!current.some(({ name, major }) => name === version.name && major === version.major)) {
      problems.push(`${file}: the event is not in EVENT_DATA any more, but in the archive; keep it there, so that a replay can be read.`);
      continue;
    }
    const { examples = [] } = version.schema;
    if (examples.length === 0) problems.push(`${file}: has no samples; they are what later code is held to (restore the file).`);
    examples.forEach((event, n) => {
      try {
        accepts(event);
      } catch (error) {
        problems.push(`${file}: sample ${n + 1} would be refused now: ${error instanceof Error ? error.message : String(error)}.`);
      }
    });
  }
  return { writes, problems };
}

/** The released contracts that are gone or have changed. */
export function changedSince(released: readonly Published[], published: readonly Published[]): string[] {
  const said = ({ schema }: Published) => ({ ...withoutAnnotations(schema), examples: schema.examples });
  return released.flatMap((was) => {
    const is = published.find((one) => fileOf(one) === fileOf(was));
    if (is && isDeepStrictEqual(said(was), said(is))) return [];
    return [`contracts/${fileOf(was)} ${is ? 'says something else' : 'is gone'}; events of it are in the archive (restore the file).`];
  });
}

function samplesOf(contract: Contract): readonly object[] {
  return contract.samples ?? sampleEvents(contract);
}

function fileContents({ name, major, detailType, schema }: Contract, minor: number, examples: readonly unknown[]): JsonSchema {
  const { title: _title, description, ...rest } = schema;
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `urn:cdk-order-pipeline:${name}:${major}.${minor}`,
    title: detailType,
    ...(description === undefined ? {} : { description }),
    ...rest,
    examples,
  };
}

function howToVersion({ name, major, type, detailType }: Contract): string {
  const next = `${name}.v${major + 1}`;
  const nextDetailType = `${detailType.replace(/V\d+$/, '')}V${major + 1}`;
  return [
    `How to change ${name} nevertheless: leave ${type} as it was published and make a version ${major + 1} of it that stands beside it.`,
    `  1. services/shared/events/schemas.ts: add '${next}' to EVENT_DATA with the new schema, and '${next}': '${nextDetailType}' to DETAIL_TYPES.`,
    `  2. Consumers take both: '${next}' among the types of their handlers, '${nextDetailType}' in their event patterns. Deploy them first.`,
    `  3. The producer publishes both until no consumer asks for ${type}, then only ${next}. The schema of ${type} stays: the archive has events of it.`,
    `  4. npx node scripts/contracts.ts writes contracts/${name}/${major + 1}.0.json. Commit it.`,
    'A field that is merely new needs none of this: make it optional. What no environment has published yet has no archive either: delete',
    `its files in contracts/${name}/ and let them be written again.`,
  ].join('\n');
}
