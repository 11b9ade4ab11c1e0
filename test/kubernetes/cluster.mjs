// A cluster on loopback: etcd, the servers of Kubernetes, and kwok, which answers for nodes and pods that run nothing.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { Api, eventually } from './api.mjs';
import { serveMetrics } from './metrics.mjs';
import { freePorts, Programs } from './processes.mjs';

/** The nodes, by their names. The fourth is the only one of its node pool. */
const NODES = {
  'node-a': { arch: 'amd64', zone: 'eu-west-1a' },
  'node-b': { arch: 'amd64', zone: 'eu-west-1b' },
  'node-arm': { arch: 'arm64', zone: 'eu-west-1c' },
  'node-pool': { arch: 'amd64', zone: 'eu-west-1a', pool: 'orders' },
};

/** Starts the cluster and returns its client, its kubeconfig, and a function that stops it. */
export async function startCluster({ folder, servers, kwok, definitions }) {
  const programs = new Programs(join(folder, 'logs'));
  const [client, peer, secure, metricsPort] = await freePorts(4);
  const etcdUrl = `http://127.0.0.1:${client}`;
  const etcd = programs.start('etcd', join(servers, 'server'), [
    '--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync', '--log-level', 'error',
    '--listen-client-urls', etcdUrl, '--advertise-client-urls', etcdUrl,
    '--listen-peer-urls', `http://127.0.0.1:${peer}`, '--initial-advertise-peer-urls', `http://127.0.0.1:${peer}`,
    '--initial-cluster', `default=http://127.0.0.1:${peer}`,
  ]);
  await programs.ready(etcd, async () => (await fetch(`${etcdUrl}/health`)).ok || undefined);

  const keys = writeKeys(folder);
  const token = randomBytes(24).toString('hex');
  writeFileSync(join(folder, 'tokens'), `${token},check,check,system:masters\n`, { mode: 0o600 });
  const apiServer = programs.start('kube-apiserver', join(servers, 'kube-apiserver'), [
    '--etcd-servers', etcdUrl, '--bind-address', '127.0.0.1', '--advertise-address', '127.0.0.1', '--secure-port', String(secure),
    '--cert-dir', join(folder, 'certificates'), '--endpoint-reconciler-type', 'none', '--service-cluster-ip-range', '10.96.0.0/16',
    '--authorization-mode', 'RBAC', '--token-auth-file', join(folder, 'tokens'), '--anonymous-auth=false',
    '--service-account-issuer', 'https://kubernetes.default.svc', '--service-account-key-file', keys.public, '--service-account-signing-key-file', keys.private,
  ]);
  const url = `https://127.0.0.1:${secure}`;
  const certificate = join(folder, 'certificates', 'apiserver.crt');
  const api = await programs.ready(apiServer, async () => {
    const tried = new Api({ url, token, ca: readFileSync(certificate) });
    return tried.get('/readyz').then(() => tried, () => undefined);
  });
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(kubeconfig, JSON.stringify({
    'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'local',
    'clusters': [{ name: 'local', cluster: { 'server': url, 'certificate-authority': certificate } }],
    'users': [{ name: 'check', user: { token } }],
    'contexts': [{ name: 'local', context: { cluster: 'local', user: 'check' } }],
  }), { mode: 0o600 });

  const unhurried = ['--kubeconfig', kubeconfig, '--leader-elect=false', '--secure-port', '0', '--kube-api-qps', '300', '--kube-api-burst', '600'];
  programs.start('kube-controller-manager', join(servers, 'kube-controller-manager'), [
    ...unhurried, '--service-account-private-key-file', keys.private,
    // A node that is late on a busy machine is not lost: kwok would not make its pods ready again.
    '--node-monitor-grace-period', '10h',
    // The defaults are 15 seconds and five minutes.
    '--horizontal-pod-autoscaler-sync-period', '1s', '--horizontal-pod-autoscaler-downscale-stabilization', '3s',
    '--horizontal-pod-autoscaler-initial-readiness-delay', '1s', '--horizontal-pod-autoscaler-cpu-initialization-period', '1s',
  ]);
  programs.start('kube-scheduler', join(servers, 'kube-scheduler'), unhurried);
  for (const [name, labels] of Object.entries(NODES)) { await api.create('/api/v1/nodes', node(name, labels)); }
  const nodes = programs.start('kwok', join(kwok, 'kwok'), ['--kubeconfig', kubeconfig, '--manage-all-nodes=true']);
  await programs.ready(nodes, async () => (await api.list('/api/v1/nodes')).every(isReady) || undefined);

  const metrics = await serveMetrics({ api, port: metricsPort, key: join(folder, 'certificates', 'apiserver.key'), certificate });
  await define(api, definitions);
  const stopLoadBalancers = await giveLoadBalancersNames(api);
  return {
    folder, api, kubeconfig, programs, metrics, certificate,
    async stop() {
      stopLoadBalancers();
      metrics.close();
      api.close();
      await programs.stop();
    },
  };
}

/** The keys with which tokens of service accounts are signed. */
function writeKeys(folder) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048, privateKeyEncoding: { type: 'pkcs1', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const files = { private: join(folder, 'service-accounts.key'), public: join(folder, 'service-accounts.pub') };
  writeFileSync(files.private, privateKey, { mode: 0o600 });
  writeFileSync(files.public, publicKey);
  return files;
}

function node(name, { arch, zone, pool }) {
  const size = { 'cpu': '64', 'memory': '256Gi', 'ephemeral-storage': '1Ti', 'pods': '500' };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: {
        'kubernetes.io/arch': arch, 'kubernetes.io/os': 'linux', 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': zone,
        'karpenter.sh/nodepool': pool ?? 'general-purpose',
      },
    },
    status: { capacity: size, allocatable: size },
  };
}

const isReady = ({ status }) => status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True');

/** Defines the kinds of objects that EKS and KEDA have beyond those of Kubernetes. */
async function define(api, files) {
  const definitions = files.flatMap((file) => parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS()));
  for (const definition of definitions) {
    const path = await api.pathOf(definition);
    await api.serverApply(path, definition);
    const established = await eventually(async () => (await api.get(path)).status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True'));
    if (!established) { throw new Error(`${definition.metadata.name} was not established`); }
  }
  api.forgetKinds();
  // A definition is established a moment before its objects can be listed.
  for (const { spec: { group, versions, names } } of definitions) {
    const path = `/apis/${group}/${versions.find(({ storage }) => storage).name}/${names.plural}`;
    if (!await eventually(() => api.get(path).then(() => true, () => false))) { throw new Error(`${names.kind} can't be listed`); }
  }
}

/** Does the work of a load balancer controller, as far as it is visible in the cluster. */
function giveLoadBalancersNames(api) {
  return api.watch('/api/v1/services', (type, service) => {
    if (type === 'DELETED' || service.spec.type !== 'LoadBalancer' || service.status.loadBalancer.ingress) { return; }
    const { name, namespace } = service.metadata;
    const hostname = `k8s-${namespace}-${name}.elb.eu-west-1.amazonaws.com`;
    api.merge(`/api/v1/namespaces/${namespace}/services/${name}/status`, { status: { loadBalancer: { ingress: [{ hostname }] } } }).catch((error) => {
      if (error.code !== 404) { throw error; }
    });
  });
}
