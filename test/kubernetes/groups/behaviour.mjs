// The cluster acts on the objects: it scales, keeps the budget, keeps endpoints during a rolling update, and a deployment that hangs fails.
import { eventually } from '../api.mjs';
import { settle } from '../inspect.mjs';
import { newStack } from '../namespaces.mjs';
import { CHANGES, EXPOSURES, HANGING } from '../programs.mjs';

export function behaviour(cluster) {
  return [
    ['CPU: more replicas under load, fewer without', () => byCpu(cluster)],
    ['eviction: the budget allows one pod at a time', () => eviction(cluster)],
    ['rolling update: the Service always leads to as many pods', () => rollingUpdate(cluster)],
    ...Object.entries(HANGING).flatMap(([name, [good, bad]]) => [
      [`hanging rollout: a new ${name} fails the deployment`, () => hanging(cluster, [bad])],
      [`hanging rollout: a changed ${name} fails the deployment`, () => hanging(cluster, [good, bad])],
    ]),
  ];
}

async function running(cluster, variant) {
  const stack = await newStack(cluster);
  await stack.deploy(variant.template());
  const problems = await settle(cluster.api, stack, variant);
  if (problems.length > 0) { throw new Error(problems.join('; ')); }
  const [{ metadata }] = stack.objects().filter(({ kind }) => kind === 'Deployment');
  return { stack, name: metadata.name, path: `/apis/apps/v1/namespaces/${stack.namespace}/deployments/${metadata.name}` };
}

async function byCpu(cluster) {
  const { api, metrics } = cluster;
  const { stack, path } = await running(cluster, EXPOSURES.none);
  const replicas = async () => (await api.get(path)).spec.replicas;
  const problems = [];
  for (const [percent, wanted] of [[300, 10], [20, 2]]) {
    metrics.use(stack.namespace, percent);
    if (!await eventually(async () => await replicas() === wanted, { seconds: 60, pause: 300 })) {
      problems.push(`at ${percent} % there are ${await replicas()} replicas instead of ${wanted}`);
    }
  }
  return problems;
}

async function eviction(cluster) {
  const { api } = cluster;
  const { stack, path } = await running(cluster, EXPOSURES['inside the cluster']);
  const pods = `/api/v1/namespaces/${stack.namespace}/pods`;
  // No pod can take the place of the first, so that the budget stays used up.
  await api.create(`/api/v1/namespaces/${stack.namespace}/resourcequotas`, { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'full' }, spec: { hard: { pods: '0' } } });
  const budget = `/apis/policy/v1/namespaces/${stack.namespace}/poddisruptionbudgets`;
  await eventually(async () => (await api.list(budget))[0].status?.disruptionsAllowed === 1);
  const [first, second] = await api.list(pods);
  const evict = ({ metadata: { name, namespace } }) => api.create(`${pods}/${name}/eviction`, { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } })
    .then(() => 201, ({ code }) => code);
  const answers = [await evict(first)];
  await eventually(async () => ((await api.get(path)).status.readyReplicas ?? 0) === 1);
  answers.push(await evict(second));
  return answers.join() === '201,429' ? [] : [`two evictions are answered with ${answers.join(' and ')}, not with 201 and 429`];
}

async function rollingUpdate(cluster) {
  const { api } = cluster;
  const { stack, name } = await running(cluster, CHANGES.port[0]);
  const ready = new Map();
  let lowest = Infinity;
  const stop = await api.watch(`/apis/discovery.k8s.io/v1/namespaces/${stack.namespace}/endpointslices?labelSelector=kubernetes.io/service-name=${name}`, (type, slice) => {
    ready.set(slice.metadata.name, type === 'DELETED' ? 0 : (slice.endpoints ?? []).filter(({ conditions }) => conditions.ready).length);
    lowest = Math.min(lowest, [...ready.values()].reduce((sum, count) => sum + count, 0));
  });
  try {
    // Another image: the pods are replaced one after the other.
    stack.change = (object) => (object.kind === 'Deployment' ? [replaced(object)] : [object]);
    await stack.deploy(EXPOSURES['inside the cluster'].template());
    const problems = await settle(api, stack, EXPOSURES['inside the cluster']);
    const images = (await api.list(`/api/v1/namespaces/${stack.namespace}/pods`)).map(({ spec }) => spec.containers[0].image);
    return [
      ...problems,
      ...images.every((image) => image.endsWith(':2.0.0')) ? [] : [`the pods have the images ${images.join(', ')}`],
      ...lowest >= 2 ? [] : [`the Service led to ${lowest} pods on the way`],
    ];
  } finally {
    stop();
  }
}

function replaced(object) {
  const copy = structuredClone(object);
  copy.spec.template.spec.containers[0].image = 'public.ecr.aws/example/orders:2.0.0';
  return copy;
}

/** The last deployment must fail, with an error that names what was waited for, in the time that it has. */
async function hanging(cluster, variants) {
  const stack = await newStack(cluster, { timeoutSeconds: 8 });
  for (const variant of variants.slice(0, -1)) {
    await stack.deploy(variant.template());
    await settle(cluster.api, stack);
  }
  const message = await stack.deploy(variants.at(-1).template()).then(() => undefined, (error) => error.message);
  if (message === undefined) { return ['the deployment succeeds']; }
  return /Timeout waiting for output/.test(message) ? [] : [`the deployment fails with: ${message}`];
}
