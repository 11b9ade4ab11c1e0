// Containers without Docker: images by buildah, containers by podman, and a base image from Debian's packages where no registry can be
// reached. Nothing of the user's own images and containers is touched: every folder of both programs is a folder of the run.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { readJson, root, run } from './user-project.mjs';

/** The programs, and the Debian packages that have them. */
const TOOLS = { buildah: 'buildah', podman: 'podman', runc: 'runc', mmdebstrap: 'mmdebstrap' };
/** Debian's own keys are only part of Debian. */
const PACKAGES = [...Object.values(TOOLS), 'uidmap', 'debian-archive-keyring'];
/** A base image of an older recipe is made again. */
const RECIPE = 2;
/** What Debian's slim images leave out, too. The licences stay. */
const LEFT_OUT = ['/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*', '/usr/share/doc/*'];

/** The folder of base images, which later runs use again. */
export function cacheFolder() {
  const caches = process.env.CDK_ORDER_PIPELINE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'cdk-order-pipeline');
  return join(caches, 'image');
}

/** Installs the programs if they are missing and that is possible. Returns the reason why there can be no containers, or undefined. */
export async function prepareTools(say) {
  if (process.platform !== 'linux') { return `containers need Linux, and this is ${process.platform}`; }
  if (process.getuid() !== 0) { return 'mounts and memory limits need root: sudo --preserve-env=PATH npm run test:image'; }
  const missing = () => Object.keys(TOOLS).filter((tool) => !pathHas(tool));
  if (missing().length === 0) { return undefined; }
  const advice = `install ${PACKAGES.join(' ')}`;
  if (!pathHas('apt-get')) { return `${missing().join(', ')} not found: ${advice}`; }
  say(`installing ${PACKAGES.join(' ')}`);
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  try {
    await run('apt-get', ['update', '-qq'], options);
    await run('apt-get', ['install', '-qq', '--no-install-recommends', ...PACKAGES], options);
  } catch (error) {
    return `apt-get could not ${advice}: ${error.message.split('\n').at(-1)}`;
  }
  return missing().length === 0 ? undefined : `${missing().join(', ')} not found after apt-get install`;
}

function pathHas(program) {
  return process.env.PATH.split(':').concat('/usr/sbin').some((folder) => folder !== '' && existsSync(join(folder, program)));
}

/** The image that a Dockerfile builds on. */
export function baseOf(dockerfile) {
  const [, name, version, suite] = /^FROM ((?:\S+\/)?node:(\d+\.\d+\.\d+)-([a-z]+)-slim)(?:@\S+)?$/m.exec(readFileSync(dockerfile, 'utf8')) ?? [];
  if (!name) { throw new Error(`${dockerfile}: its FROM must name an image like node:24.1.0-trixie-slim, with the whole version and the name of the Debian release`); }
  return { name, version, suite };
}

/**
 * Returns the folder of a base image, and how it was made. The registry's image is taken if it can be reached, and otherwise one of
 * Debian's packages and the Node.js of node_modules, with the same name.
 */
export async function baseImage({ name, version, suite }, { fromDebian, folder, say }) {
  const nodeVersion = readJson(join(root, 'node_modules', 'node', 'package.json')).version;
  const cached = (kind, ...parts) => {
    const key = createHash('sha256').update(JSON.stringify([RECIPE, process.arch, name, ...parts])).digest('hex').slice(0, 16);
    return join(cacheFolder(), `${kind}-${version}-${suite}-${key}`);
  };
  const registry = cached('registry');
  const debian = cached('debian', nodeVersion);
  const origin = `Debian ${suite} and Node.js ${nodeVersion} of npm${nodeVersion === version ? '' : `, instead of ${version}`}`;
  if (!fromDebian && existsSync(registry)) { return { store: registry, origin: 'from the registry, cached' }; }

  mkdirSync(cacheFolder(), { recursive: true });
  const draft = `${registry}-${process.pid}`;
  const storage = new Storage(draft, join(folder, 'base-run'));
  try {
    if (!fromDebian && await storage.buildah(['pull', '--retry', '0', name], { timeoutMinutes: 3 }).then(() => true, () => false)) {
      return { store: keep(draft, registry), origin: 'from the registry' };
    }
    if (existsSync(debian)) { return { store: debian, origin: `${origin}, cached` }; }
    say(`${fromDebian ? 'making a base image' : 'no registry can be reached; making a base image'} of ${origin}, once, in about two minutes`);
    await makeOfDebian(storage, { name, suite, nodeVersion, folder });
    return { store: keep(draft, debian), origin };
  } finally {
    await storage.remove();
    rmSync(draft, { recursive: true, force: true });
  }
}

async function makeOfDebian(storage, { name, suite, nodeVersion, folder }) {
  const system = join(folder, 'system.tar');
  const leftOut = LEFT_OUT.map((path) => `--dpkgopt=path-exclude=${path}`);
  await run('mmdebstrap', [
    '--mode=root', '--variant=minbase', '--include=libstdc++6', ...leftOut, '--dpkgopt=path-include=/usr/share/doc/*/copyright', suite, system,
  ], {});
  const container = (await storage.buildah(['from', 'scratch'])).trim();
  await storage.buildah(['add', '--quiet', container, system, '/']);
  await storage.buildah(['copy', '--quiet', '--chmod', '755', container, join(root, 'node_modules', 'node', 'bin', 'node'), '/usr/local/bin/node']);
  await storage.buildah(['config', '--env', `NODE_VERSION=${nodeVersion}`, '--cmd', '["node"]', container]);
  await storage.buildah(['commit', '--quiet', '--rm', container, name]);
  rmSync(system);
}

/** A run at the same time may have been faster. */
function keep(draft, store) {
  try {
    renameSync(draft, store);
  } catch (error) {
    if (!existsSync(store)) { throw error; }
  }
  return store;
}

/** The images and containers of one folder. */
export class Storage {
  /** @param bases the folders of images that it reads and does not change */
  constructor(folder, runFolder, bases = []) {
    this.folder = folder;
    this.runFolder = runFolder;
    this.options = [
      '--root', folder, '--runroot', runFolder, '--storage-driver', 'overlay', ...bases.flatMap((base) => ['--storage-opt', `additionalimagestore=${base}`]),
    ];
    const runtime = pathHas('runc') ? 'runc' : 'crun';
    this.podmanOptions = [...this.options, '--runtime', runtime, '--cgroup-manager', 'cgroupfs', '--events-backend', 'file', '--log-level', 'error'];
  }

  buildah(args, options = {}) { return run('buildah', [...this.options, ...args], options); }
  podman(args, options = {}) { return run('podman', [...this.podmanOptions, ...args], options); }

  /** Builds the Dockerfile of a folder as it is. It has no other base images than those that are there. */
  async build(context, tag, dockerfile = join(context, 'Dockerfile')) {
    await this.buildah(['bud', '--pull-never', '--isolation', 'chroot', '--quiet', '--file', dockerfile, '--tag', tag, context]);
    return tag;
  }

  async image(name) { return JSON.parse(await this.podman(['image', 'inspect', name]))[0]; }

  async containers() {
    const ids = (await this.podman(['ps', '--all', '--quiet', '--no-trunc'])).split('\n').filter((id) => id !== '');
    return ids.length === 0 ? [] : JSON.parse(await this.podman(['inspect', ...ids]));
  }

  /** The sizes of the layers of images as a registry stores them, in bytes, from the base on, by the name of the image. */
  async compressedLayers(names, folder) {
    mkdirSync(folder);
    const archive = join(folder, 'images.tar');
    await this.podman(['save', '--quiet', '--multi-image-archive', '--output', archive, ...names]);
    await run('tar', ['-xf', archive, '-C', folder], {});
    const sizes = new Map();
    const sizeOf = async (layer) => {
      let size = 0;
      await pipeline(createReadStream(join(folder, layer)), createGzip(), async (chunks) => { for await (const { length } of chunks) { size += length; } });
      return size;
    };
    const images = readJson(join(folder, 'manifest.json'));
    for (const layer of new Set(images.flatMap(({ Layers }) => Layers))) { sizes.set(layer, sizeOf(layer)); }
    const entries = images.map(async ({ RepoTags: [tag], Layers }) => [/([^/]+):[^:]+$/.exec(tag)[1], await Promise.all(Layers.map((layer) => sizes.get(layer)))]);
    return Object.fromEntries(await Promise.all(entries));
  }

  /** Ends its containers, and unmounts and deletes everything. */
  async remove() {
    if (!existsSync(this.folder)) { return; }
    await this.podman(['rm', '--all', '--force', '--time', '0']).catch(() => undefined);
    await this.buildah(['rm', '--all']).catch(() => undefined);
    for (const folder of [this.folder, this.runFolder]) { await this.#unmount(folder); }
    rmSync(this.runFolder, { recursive: true, force: true });
  }

  async #unmount(folder) {
    const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '');
    for (const mount of mounts.filter((path) => path.startsWith(`${folder}/`)).reverse()) { await run('umount', [mount], {}).catch(() => undefined); }
  }
}

/** The file of a container's memory in its cgroup that has the peak, for both versions of cgroups. */
export function peakMemory({ State: { CgroupPath: path } }) {
  const files = [join('/sys/fs/cgroup/memory', path, 'memory.max_usage_in_bytes'), join('/sys/fs/cgroup', path, 'memory.peak')];
  const file = files.find((candidate) => existsSync(candidate));
  return file === undefined ? undefined : Number(readFileSync(file, 'utf8'));
}
