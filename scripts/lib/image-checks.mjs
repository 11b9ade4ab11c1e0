// The rules for an image, for the flags of its containers, and for the end of a container. Each returns sentences; none means that all is well.
import { readFileSync } from 'node:fs';

/** The flags of podman for a container as the kubelet starts it. */
export function flagsOf({ spec, container }) {
  const { runAsUser, runAsGroup, fsGroup, seccompProfile } = { ...spec.securityContext, ...container.securityContext };
  const { readOnlyRootFilesystem, allowPrivilegeEscalation, capabilities } = container.securityContext ?? {};
  const memory = container.resources?.limits?.memory;
  const files = openFiles();
  const flags = ['--network', 'host', '--ulimit', `nofile=${files}:${files}`, '--ulimit', 'nproc=4096:4096'];
  if (runAsUser !== undefined) { flags.push('--user', runAsGroup === undefined ? `${runAsUser}` : `${runAsUser}:${runAsGroup}`); }
  if (fsGroup !== undefined) { flags.push('--group-add', `${fsGroup}`); }
  // podman has a writable /tmp, /run and /var/tmp by default, and Kubernetes has not.
  if (readOnlyRootFilesystem) { flags.push('--read-only', '--read-only-tmpfs=false'); }
  if (allowPrivilegeEscalation === false) { flags.push('--security-opt', 'no-new-privileges'); }
  for (const capability of capabilities?.drop ?? []) { flags.push('--cap-drop', capability); }
  if (seccompProfile?.type !== 'RuntimeDefault') { flags.push('--security-opt', 'seccomp=unconfined'); }
  if (memory !== undefined) { flags.push('--memory', `${bytesOf(memory)}`, '--memory-swap', `${bytesOf(memory)}`); }
  const folders = Object.fromEntries((spec.volumes ?? []).map(({ name, emptyDir }) => [name, emptyDir]));
  for (const { name, mountPath } of container.volumeMounts ?? []) {
    if (folders[name]) { flags.push('--tmpfs', `${mountPath}:rw,mode=1777,size=${bytesOf(folders[name].sizeLimit ?? '64Mi')}`); }
  }
  return flags;
}

/** The number of open files as on a node, or that of this machine if it is lower: podman asks for more than it may have. */
function openFiles() {
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity;
  return Math.min(65_536, Number(hard));
}

/** The bytes of a quantity of Kubernetes, such as `256Mi`. */
export function bytesOf(quantity) {
  const [, number, unit] = /^(\d+)([KMG]i)?$/.exec(quantity) ?? [];
  if (number === undefined) { throw new Error(`the quantity ${quantity} is not understood here`); }
  return Number(number) * 1024 ** ['', 'Ki', 'Mi', 'Gi'].indexOf(unit ?? '');
}

/** A program that runs in a container and prints its report as JSON. */
export const PROBE = `
const fs = require('node:fs');
const status = Object.fromEntries(fs.readFileSync('/proc/self/status', 'utf8').split('\\n').map((line) => line.split(':\\t')));
const attempt = (work) => { try { work(); return true; } catch { return false; } };
const canWrite = (folder) => attempt(() => { fs.writeFileSync(folder + '/.probe', ''); fs.rmSync(folder + '/.probe'); });
const files = [];
const unreadable = [];
for (const entry of fs.readdirSync('/app', { recursive: true, withFileTypes: true })) {
  const path = entry.parentPath + '/' + entry.name;
  if (entry.isFile()) files.push(path.slice('/app/'.length));
  if (!attempt(() => fs.accessSync(path, fs.constants.R_OK | (entry.isDirectory() ? fs.constants.X_OK : 0)))) unreadable.push(path);
}
console.log(JSON.stringify({
  user: process.getuid(), group: process.getgid(), capabilities: status.CapEff + '/' + status.CapBnd, newPrivileges: status.NoNewPrivs, seccomp: status.Seccomp,
  writable: ['/', '/app', '/etc', '/usr/local/bin', '/var/tmp', '/run', '/dev/shm'].filter(canWrite), temporary: canWrite('/tmp'),
  memory: process.constrainedMemory(), node: process.version, files, unreadable,
}));
`;

/** Writable in every container, also in one of Kubernetes: its own memory, within the limit. */
const SHARED_MEMORY = '/dev/shm';

/** What is wrong with the surroundings that a probe has found. */
export function surroundingsProblems({ user, group, capabilities, newPrivileges, seccomp, writable, temporary, memory }, limit) {
  const folders = writable.filter((folder) => folder !== SHARED_MEMORY);
  return [
    user === 0 && 'it runs as root: runAsUser must be another user',
    group === 0 && 'it runs in the group of root: runAsGroup must be another group',
    !/^0+\/0+$/.test(capabilities) && `it has the capabilities ${capabilities}: drop ALL`,
    newPrivileges !== '1' && 'it may gain privileges: allowPrivilegeEscalation must be false',
    seccomp !== '2' && 'no seccomp profile filters its system calls: seccompProfile must be RuntimeDefault',
    folders.length > 0 && `it can write to ${folders.join(', ')}: readOnlyRootFilesystem must be true`,
    !temporary && 'it cannot write to /tmp: mount an emptyDir there',
    memory !== limit && `its memory is limited to ${memory} bytes, not to ${limit}: set a limit`,
  ].filter(Boolean);
}

const LABELS = ['title', 'source', 'licenses', 'base.name'].map((name) => `org.opencontainers.image.${name}`);
const REQUIRED = ['THIRD-PARTY-NOTICES.txt', 'sbom.cdx.json', 'package.json'];

/** What is wrong with an image, and with its files below /app. `kind` is `services` or `migration`. */
export function imageProblems({ Config: { User: user = '', Labels: labels, Entrypoint: entrypoint, Env: environment = [] } }, { files, unreadable }, kind) {
  const unwanted = files.filter((file) => /\.map$|\.ts$|(^|\/)(node_modules|Dockerfile)(\/|$)/.test(file) || (kind === 'services' && /\.sql$|^migrate\.js$|^data\//.test(file)));
  return [
    !/^[1-9]\d*(:[1-9]\d*)?$/.test(user) && `its user is ${user === '' ? 'root' : `'${user}'`}: USER must be a number other than 0`,
    ...LABELS.filter((label) => !labels?.[label]).map((label) => `the label ${label} is missing`),
    entrypoint?.length > 0 && `its entry point is ${entrypoint.join(' ')}: a program must be process 1 itself`,
    !environment.includes('NODE_ENV=production') && 'NODE_ENV is not production',
    unreadable.length > 0 && `not every user can read ${unreadable.slice(0, 3).join(', ')}: COPY needs --chmod=755`,
    unwanted.length > 0 && `it has ${unwanted.slice(0, 3).join(', ')}, which no pod needs`,
    ...REQUIRED.filter((file) => !files.includes(file)).map((file) => `${file} is missing`),
  ].filter(Boolean);
}

/** What is wrong with the end of a container that was asked to stop at `asked`. */
export function endProblems({ Name: name, State: state }, { asked, graceSeconds }) {
  const seconds = (Date.parse(state.FinishedAt) - asked) / 1000;
  return [
    state.OOMKilled && `${name} was stopped because it had used all of its memory`,
    state.Status !== 'exited' && `${name} is ${state.Status} after the grace period of ${graceSeconds} s`,
    state.Status === 'exited' && state.ExitCode !== 0 && `${name} ended with code ${state.ExitCode}`,
    state.Status === 'exited' && seconds > graceSeconds && `${name} took ${seconds} s to stop, and has ${graceSeconds} s`,
  ].filter(Boolean);
}
