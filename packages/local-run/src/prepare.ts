import type { Assembly } from './assembly/assembly.ts';
import { Model } from './assembly/model.ts';
import type { Resource } from './assembly/model.ts';
import { nameWhatIsNotMade } from './assembly/not-made.ts';
import { placeOf } from './assembly/place.ts';
import { namedType, TEMPLATE_TYPES, TEMPLATE_WITHOUT_MEANING } from './assembly/types.ts';
import type { ResourceType } from './assembly/types.ts';
import { KubernetesReader } from './kubernetes/kubernetes.ts';
import type { LocalRunOptions } from './local-run.ts';
import type { Log } from './log.ts';
import { callersEnvironment, localEnvironment } from './processes/environment.ts';
import type { EnvironmentPart } from './processes/environment.ts';
import type { Leftovers } from './processes/leftovers.ts';
import { freePort } from './processes/ports.ts';
import { Workloads } from './processes/workloads.ts';
import type { LocalService, RunContext } from './service.ts';
import { builtInServices } from './services.ts';

/** A run before anything of it is started. */
export interface PreparedRun {
  readonly context: RunContext;
  readonly builtIn: ReturnType<typeof builtInServices>;
  /** The built-in services and those of the options, in the order in which they make resources. */
  readonly services: readonly LocalService[];
  readonly model: Model;
  readonly warnings: readonly string[];
  readonly withoutMeaning: ReadonlyMap<string, number>;
  /** The names that a port was asked for. */
  readonly portNames: ReadonlySet<string>;
  /** The programs of another version of the stacks, with the addresses of this run. They are not started. */
  programsOf(version: Assembly): { readonly model: Model; readonly workloads: Workloads };
  /** The variables with which clients call the services. */
  environment(): Record<string, string>;
}

export interface Surroundings {
  readonly dataDir: string;
  readonly logDir: string;
  readonly leftovers: Leftovers;
  readonly log: Log;
}

/** Brings the stacks, the services and the places for their programs together. */
export function prepareRun(assembly: Assembly, options: Omit<LocalRunOptions, 'assemblyDir' | 'dataDir'>, surroundings: Surroundings): PreparedRun {
  const warnings: string[] = [];
  const withoutMeaning = new Map<string, number>();
  const portNames = new Set<string>();
  const warn = (sentence: string) => void warnings.push(sentence);
  const port = async (name: string) => {
    portNames.add(name);
    const wanted = options.ports?.[name] ?? 0;
    return wanted === 0 ? 0 : freePort(name, wanted);
  };
  const place = placeOf(assembly, warn);
  const otherEndpoints = byServiceName(options.otherEndpoints);
  const aws = () => ({ region: place.region, otherServices: builtIn.otherServices.address });
  const newWorkloads = () => new Workloads({
    ...surroundings,
    port,
    onFailure: (sentence) => options.onFailure?.(sentence),
    onRecovery: (sentence) => options.onRecovery?.(sentence),
    maxReplicas: options.maxReplicas ?? Infinity,
    sharedProcess: options.sharedProcess,
    without: options.without ?? [],
    environment: (spec, ports) => localEnvironment(spec, ports, {
      ...aws(),
      defaults: options.environment ?? {},
      parts: [cpuProfiles(options), ...services.map((service): EnvironmentPart => (given) => service.environment?.(given) ?? {})],
    }),
  });
  const context: RunContext = {
    ...place,
    ...surroundings,
    assembly,
    workloads: newWorkloads(),
    port,
    warn,
    fresh: options.fresh ?? false,
    open: options.open ?? false,
    without: options.without ?? [],
    replication: options.replication ?? 'asynchronous',
    otherEndpoints,
    report: (sentence) => {
      surroundings.log('warn', sentence);
      options.onWarning?.(sentence);
    },
    receiver: (arn) => {
      // Asked with every message: the first that has one ends it.
      for (const service of services) {
        const receiver = service.receiver?.(arn);
        if (receiver) return receiver;
      }
      return undefined;
    },
    leaveOut: (reason, count = 1) => { if (count > 0) withoutMeaning.set(reason, (withoutMeaning.get(reason) ?? 0) + count); },
  };
  const builtIn = builtInServices(context);
  const services: LocalService[] = [...Object.values(builtIn), ...(options.services ?? []).map((make) => make(context))];
  const types = Object.assign({}, TEMPLATE_TYPES, ...services.map((service) => service.types)) as Record<string, ResourceType>;
  const typeOf = (type: string) => types[type] ?? namedType(type);
  const modelOf = (version: Assembly, resourceType = typeOf) => new Model(version, {
    ...place,
    parameters: options.parameters ?? {},
    resourceType,
    secretValue: (id) => builtIn.secretsManager.store.value(id),
  });
  const model = modelOf(assembly);
  nameWhatIsNotMade(model, {
    made: types,
    withoutMeaning: [TEMPLATE_WITHOUT_MEANING, ...services.map((service) => service.withoutMeaning ?? {})],
    otherEndpoints,
    leaveOut: context.leaveOut,
    warn,
  });
  return {
    context,
    builtIn,
    services,
    model,
    programsOf: (version) => {
      const programs = { model: modelOf(version, (type) => asIn(model, typeOf(type))), workloads: newWorkloads() };
      const changed = { assembly: version, workloads: programs.workloads, warn: context.report, leaveOut: () => undefined };
      new KubernetesReader({ ...context, ...changed }).read(programs.model);
      return programs;
    },
    warnings,
    withoutMeaning,
    portNames,
    environment: () => {
      const parts = services.map((service) => service.environment?.({}));
      return Object.assign({}, ...parts, callersEnvironment(aws())) as Record<string, string>;
    },
  };
}

/** The values of the resources of another model, where it has the same one: only of those the services know the addresses. */
function asIn(model: Model, { ref, attributes }: ResourceType): ResourceType {
  const known = (resource: Resource) => model.resources.find(({ path }) => path === resource.path) ?? resource;
  const mapped = Object.entries(attributes).map(([name, value]) => [name, (resource: Resource) => value(known(resource))] as const);
  return { ref: (resource) => ref(known(resource)), attributes: Object.fromEntries(mapped) };
}

/** The addresses by names such as `cognito_identity`, however the user writes them. */
function byServiceName(endpoints: LocalRunOptions['otherEndpoints'] = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(endpoints).map(([name, url]) => [name.toLowerCase().replaceAll(/[ -]/g, '_'), url]));
}

function cpuProfiles({ cpuProfileDir }: Pick<LocalRunOptions, 'cpuProfileDir'>): EnvironmentPart {
  if (cpuProfileDir === undefined) return () => ({});
  return ({ NODE_OPTIONS = '' }) => ({ NODE_OPTIONS: `${NODE_OPTIONS} --cpu-prof --cpu-prof-dir="${cpuProfileDir}"` });
}
