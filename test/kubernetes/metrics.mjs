// The metrics API of a cluster whose pods run nothing: the CPU use of each namespace is what a check says.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { eventually } from './api.mjs';

const GROUP = 'metrics.k8s.io';
const NAME = 'metrics';
const SYSTEM = 'kube-system';

/** The CPU use of pods in percent of their request, where no check says another. */
const QUIET = 30;

/** Serves the metrics of all pods, and tells the API server so. */
export async function serveMetrics({ api, port, key, certificate }) {
  const percent = new Map();
  const server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) => {
    answer(api, percent, new URL(request.url, 'https://localhost')).then(
      (body) => response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? { kind: 'Status', code: 404 })),
      (error) => response.writeHead(500).end(error.message),
    );
  });
  await new Promise((resolve) => { server.listen(port, '127.0.0.1', resolve); });
  await register(api, { group: GROUP, version: 'v1beta1', service: NAME, namespace: SYSTEM, port });
  return {
    /** Sets the CPU use of the pods of a namespace, in percent of their request. */
    use(namespace, value) { percent.set(namespace, value); },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Makes the API server ask a server on this machine for a group of the API. */
export async function register(api, { group, version, service, namespace, port }) {
  await api.serverApply(`/api/v1/namespaces/${namespace}/services/${service}`, {
    apiVersion: 'v1', kind: 'Service', metadata: { name: service, namespace },
    spec: { type: 'ExternalName', externalName: 'localhost', ports: [{ port, protocol: 'TCP' }] },
  });
  const name = `${version}.${group}`;
  await api.serverApply(`/apis/apiregistration.k8s.io/v1/apiservices/${name}`, {
    apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService', metadata: { name },
    spec: { group, version, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true, service: { name: service, namespace, port } },
  });
  const available = await eventually(async () => (await api.get(`/apis/apiregistration.k8s.io/v1/apiservices/${name}`))
    .status?.conditions?.some(({ type, status }) => type === 'Available' && status === 'True'), { seconds: 60 });
  if (!available) { throw new Error(`the API server does not reach ${group}`); }
}

async function answer(api, percent, { pathname, searchParams }) {
  if (pathname === `/apis/${GROUP}/v1beta1`) {
    const pods = { name: 'pods', singularName: '', namespaced: true, kind: 'PodMetrics', verbs: ['get', 'list'] };
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: `${GROUP}/v1beta1`, resources: [pods] };
  }
  const namespace = /^\/apis\/metrics\.k8s\.io\/v1beta1\/namespaces\/([^/]+)\/pods$/.exec(pathname)?.[1];
  if (namespace === undefined) { return undefined; }
  const selector = searchParams.get('labelSelector');
  const pods = await api.list(`/api/v1/namespaces/${namespace}/pods${selector ? `?labelSelector=${encodeURIComponent(selector)}` : ''}`);
  const use = (percent.get(namespace) ?? QUIET) / 100;
  return {
    kind: 'PodMetricsList', apiVersion: `${GROUP}/v1beta1`, metadata: {},
    items: pods.filter(({ status }) => status.phase === 'Running').map(({ metadata, spec }) => ({
      metadata: { name: metadata.name, namespace, labels: metadata.labels },
      timestamp: new Date().toISOString(),
      window: '10s',
      containers: spec.containers.map(({ name, resources }) => ({ name, usage: { cpu: `${Math.round(milliCpu(resources.requests.cpu) * use)}m`, memory: '64Mi' } })),
    })),
  };
}

const milliCpu = (quantity) => (quantity.endsWith('m') ? Number(quantity.slice(0, -1)) : Number(quantity) * 1000);
