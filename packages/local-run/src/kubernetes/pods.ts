import { dirname, delimiter, sep } from 'node:path';
import type { ImageAsset } from '../assembly/assembly.ts';
import type { ContainerPort, ContainerSpec, PodSpec, Probe } from '../processes/specs.ts';
import type { RunContext } from '../service.ts';
import { hostPath, onThisMachine } from './command.ts';
import type { Lack, Surroundings } from './command.ts';
import { readImage } from './dockerfile.ts';
import type { Stage } from './dockerfile.ts';
import { baseOf, ImageFiles } from './image-files.ts';
import type { Container, ManifestObject, PodTemplate, RawProbe } from './objects.ts';
import { named, sameNamespace } from './objects.ts';
import type { Unresolved } from './unresolved.ts';
import { Variables } from './variables.ts';
import type { Place } from './variables.ts';

/** Reads the pods of workloads and jobs: the programs of their containers, with folders, variables and ports. */
export class PodReader {
  readonly #context: RunContext;
  readonly #objects: readonly ManifestObject[];
  readonly #unresolved: Unresolved;
  readonly #variables: Variables;

  constructor(context: RunContext, objects: readonly ManifestObject[], unresolved: Unresolved) {
    this.#context = context;
    this.#objects = objects;
    this.#unresolved = unresolved;
    this.#variables = new Variables(objects, unresolved);
  }

  /** Undefined when one of its containers cannot run here; a warning says why. */
  read(place: Place): PodSpec | undefined {
    const spec = place.template?.spec ?? {};
    const stays = ({ restartPolicy }: Container) => restartPolicy === 'Always';
    const { initContainers: initial = [] } = spec;
    const read = (all: readonly Container[]) => all.map((container) => this.#container(container, place, all.length === 1));
    const containers = read([...spec.containers ?? [], ...initial.filter(stays)]);
    const initContainers = read(initial.filter((container) => !stays(container)));
    if (containers.length === 0 || containers.includes(undefined) || initContainers.includes(undefined)) return undefined;
    this.#nameWhatIsNotThere(spec, place.what);
    return {
      containers: containers.filter((container) => container !== undefined),
      initContainers: initContainers.filter((container) => container !== undefined),
      terminationGracePeriodSeconds: this.#timeToStop(spec, place.what),
      labels: place.template?.metadata?.labels ?? {},
    };
  }

  /** Probes that are not asked, and volumes whose files a container does not find. */
  #nameWhatIsNotThere({ containers = [], initContainers = [], volumes = [] }: NonNullable<PodTemplate['spec']>, what: string): void {
    const probes = containers.flatMap(({ startupProbe, readinessProbe, livenessProbe }) => [startupProbe, readinessProbe, livenessProbe]);
    if (probes.some((raw) => raw?.exec ?? raw?.grpc)) {
      this.#context.warn(`${what} has a probe by exec or grpc: the local run asks by HTTP and TCP only, so without another probe it is ready at once.`);
    }
    const empty = volumes.filter((volume) => volume.emptyDir === undefined);
    const places = [...containers, ...initContainers].flatMap(({ volumeMounts = [] }) => volumeMounts)
      .filter(({ name }) => empty.some((volume) => volume.name === name)).map(({ mountPath }) => mountPath);
    if (places.length > 0) {
      this.#context.warn(`${what} mounts volumes at ${[...new Set(places)].join(', ')}: the local run has no volumes, so it does not find their files.`);
    }
  }

  /**
   * The time of a process from SIGTERM on. Kubernetes counts the sleep of a `preStop` hook, in which load balancers and Services find out,
   * in the grace period. Here the balancer knows at once, and nobody sleeps.
   */
  #timeToStop({ containers = [], terminationGracePeriodSeconds: whole = 30 }: NonNullable<PodTemplate['spec']>, what: string): number {
    const hooks = containers.map(({ lifecycle }) => lifecycle?.preStop ?? {});
    if (hooks.some(({ exec, httpGet }) => exec ?? httpGet)) this.#context.warn(`${what} has a preStop hook that is not only a sleep: the local run does not call it.`);
    return Math.max(1, whole - Math.max(0, ...hooks.map(({ sleep }) => Number(sleep?.seconds ?? 0))));
  }

  #container(container: Container, place: Place, alone: boolean): ContainerSpec | undefined {
    const name = container.name ?? 'main';
    const image = this.#unresolved.needed(container.image ?? '');
    const asset = this.#asset(image);
    const leave = (reason: string): undefined => {
      const after = `or leave it out with --without ${place.owner.metadata?.name}`;
      this.#context.warn(`${place.what} is not started: its container ${name} ${reason} ${after}.`);
    };
    if (!asset) {
      return leave(`runs the image ${image}, which is no asset of this assembly and cannot be run without a container engine. `
        + 'Its work is not done, and requests to its Services find nobody. Make it an asset,');
    }
    const stage = readImage(asset);
    const files = new ImageFiles(stage, asset);
    const workingDirectory = container.workingDir ?? stage.workingDirectory;
    const given = this.#variables.of(container, place);
    const environment = { ...stage.environment, ...given };
    const words = [...container.command ?? stage.entrypoint, ...container.args ?? (container.command ? [] : stage.command)]
      .map((word) => this.#variables.expand(word, environment));
    if (words.length === 0) {
      return leave(`has no command of its own: that of its base image ${baseOf(stage)} cannot be read here. Give it one in ${asset.dockerFile} or in the manifest,`);
    }
    const surroundings = { workingDirectory, files, otherwise: asset.directory };
    const run = onThisMachine(words, surroundings);
    if (!('command' in run)) return leave(this.#lack(run, words, stage, asset, files));
    return {
      name,
      ...run,
      environment: withHostPaths(environment, { ...surroundings, otherwise: run.folder }),
      ports: this.#ports(container, place, stage, alone),
      ...probe('startupProbe', container.startupProbe),
      ...probe('readinessProbe', container.readinessProbe),
      ...probe('livenessProbe', container.livenessProbe),
      ...this.#hint(files, asset, place),
    };
  }

  #asset(image: string): ImageAsset | undefined {
    const [, tag = ''] = /:([^:/@]+)(?:@.*)?$/.exec(image) ?? [];
    return this.#context.assembly.images.get(tag);
  }

  /** Says what a command lacks, the line of the Dockerfile that it is about, and the remedy. */
  #lack(lack: Lack, words: readonly string[], stage: Stage, asset: ImageAsset, files: ImageFiles): string {
    if ('program' in lack) return `runs ${lack.program} of its image (${baseOf(stage)}), and there is no such program on this machine. Install it,`;
    const { file, reason, isBelow } = files.missing(lack.file);
    const why = `runs ${words.join(' ')}, and ${file} is not in its build context: ${reason}.`;
    if (!isBelow) return `${why} Let the build write into a folder of the build context,`;
    if (!this.#isStaged(asset)) return `${why} Build it, so that ${file} is in ${asset.directory},`;
    return `${why} Build it where its sources are, and use \`cdk synth --no-staging\`, which takes that folder as it is,`;
  }

  /** The advice for a program that misses a file: the command of the Dockerfile that may make it. */
  #hint(files: ImageFiles, asset: ImageAsset, { owner }: Place): Pick<ContainerSpec, 'hint'> {
    const run = files.installs();
    if (run === undefined) return {};
    const remedy = this.#isStaged(asset) ? 'do it where its sources are, and use `cdk synth --no-staging`' : `do it in ${asset.directory}`;
    return { hint: `The local run does not build images, so the files of ${run} may be missing: ${remedy}, or leave it out with --without ${owner.metadata?.name}` };
  }

  /** Whether the build context is a copy in the assembly, without the files that `.dockerignore` names. */
  #isStaged({ directory }: ImageAsset): boolean {
    return directory.startsWith(`${this.#context.assembly.directory}${sep}`);
  }

  /**
   * The ports that it listens on: those of the manifest, or else those of its image. A port that a Service or a probe names by its number
   * counts, too, as in Kubernetes.
   */
  #ports(container: Container, place: Place, { ports: exposed }: Stage, alone: boolean): ContainerPort[] {
    const declared = (container.ports ?? []).map(({ name, containerPort }) => named(name, { port: Number(containerPort) }));
    const { startupProbe, readinessProbe, livenessProbe } = container;
    const probed = [startupProbe, readinessProbe, livenessProbe].map((raw) => (raw?.httpGet ?? raw?.tcpSocket)?.port);
    const others = [...(alone ? this.#targetPorts(place) : []), ...probed].map(Number).filter((port) => port > 0);
    const numbers = new Set([...others, ...(declared.length === 0 ? exposed : [])]);
    return [...declared, ...[...numbers].filter((number) => !declared.some(({ port }) => port === number)).map((port) => ({ port }))];
  }

  /** The ports of the Services that select this pod, by number or name. */
  #targetPorts({ owner, template }: Place): unknown[] {
    const labels = template?.metadata?.labels ?? {};
    return this.#objects.flatMap(({ object }) => {
      if (object.kind !== 'Service' || !sameNamespace(object, owner)) return [];
      const selector = Object.entries((object.spec?.selector ?? {}) as Record<string, string>);
      const selects = selector.length > 0 && selector.every(([key, value]) => labels[key] === value);
      const ports = (object.spec?.ports ?? []) as { port: number; targetPort?: string | number }[];
      return selects ? ports.map(({ port, targetPort }) => targetPort ?? port) : [];
    });
  }
}

/** Paths of the image in variables are those of this machine, and programs are found on this machine. */
function withHostPaths(environment: Readonly<Record<string, string>>, surroundings: Surroundings): Record<string, string> {
  // Below the root, every path could be one of the image.
  const host = (value: string) => (surroundings.workingDirectory === '/' ? value : hostPath(value, surroundings));
  const mapped = Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, host(value)]));
  if (environment.PATH === undefined) return mapped;
  const own = environment.PATH.split(':').filter((path) => host(path) !== path).map(host);
  return { ...mapped, PATH: [...own, dirname(process.execPath), process.env.PATH ?? ''].filter(Boolean).join(delimiter) };
}

function probe<Name extends string>(name: Name, raw: RawProbe | undefined): { readonly [key in Name]?: Probe } {
  const target = raw?.httpGet ?? raw?.tcpSocket;
  if (!raw || !target) return {};
  return {
    [name]: {
      kind: raw.httpGet ? 'http' : 'tcp',
      path: raw.httpGet?.path ?? '/',
      port: target.port,
      initialDelaySeconds: raw.initialDelaySeconds ?? 0,
      periodSeconds: raw.periodSeconds ?? 10,
      timeoutSeconds: raw.timeoutSeconds ?? 1,
      failureThreshold: raw.failureThreshold ?? 3,
    },
  } as { readonly [key in Name]: Probe };
}
