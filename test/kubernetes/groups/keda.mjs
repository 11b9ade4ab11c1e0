// The real KEDA on the objects of the library, with the queue of the local SQS endpoint: it scales up and down, admission lets every change
// of scaling pass, and it asks SQS for nothing but the attributes of its queue.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { PurgeQueueCommand, SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs';
import { SqsEndpoint } from 'cdk-local-run/sqs/endpoint';
import { parseAllDocuments } from 'yaml';
import { eventually } from '../api.mjs';
import { settle } from '../inspect.mjs';
import { register } from '../metrics.mjs';
import { newStack } from '../namespaces.mjs';
import { freePorts } from '../processes.mjs';
import { SCALINGS } from '../programs.mjs';
import { moduleFolder } from '../tools.mjs';
import { transition } from './transitions.mjs';

const NAMESPACE = 'keda';
const SECRET = 'kedaorg-certs';
const ACCOUNT = '000000000000';
const REGION = 'eu-west-1';
const MESSAGES = 500;
/** The replicas for these messages: each does 20 in the acceptable latency, or 60 where the replicas start from 0. */
const FULL = { 'keda': 10, 'keda from 0': 9 };

export function keda(cluster, programs) {
  return [async (record) => {
    const queues = await startQueues(cluster.folder);
    cluster.programs.atEnd(() => queues.close());
    const tried = (label, check) => check.catch((error) => [error.message]).then((problems) => record(label, problems));
    const started = await startKeda(cluster, programs, queues.url).then(() => [], (error) => [error.message]);
    record('KEDA starts', started);
    if (started.length > 0) { return; }
    await Promise.all([
      ...Object.entries(FULL).map(([name, full]) => tried(`${name}: ${MESSAGES} messages make ${full} replicas, an empty queue ${SCALINGS[name].least}`,
        byLength(cluster, queues, SCALINGS[name], full))),
      tried('keda from 0 while it has no replica → cpu', fromNothing(cluster, queues)),
      ...Object.keys(SCALINGS).filter((name) => !SCALINGS[name].keda).map((other) => thereAndBack(cluster, queues, other, record)),
    ]);
    const actions = [...queues.actions].sort();
    record('SQS was asked for nothing but GetQueueAttributes', actions.join() === 'GetQueueAttributes' ? [] : [`it was asked for ${actions.join(', ') || 'nothing'}`]);
  }];
}

/** A consumer with a queue of its own. */
async function deployed(cluster, queues, name, variant) {
  const queueUrl = queues.create(name);
  const template = variant.template();
  const ids = Object.keys(template.Resources).filter((id) => template.Resources[id].Type === 'AWS::SQS::Queue');
  const stack = await newStack(cluster, { values: Object.fromEntries(ids.map((id) => [id, queueUrl])) });
  await stack.deploy(template);
  return { stack, queueUrl, path: `/apis/apps/v1/namespaces/${stack.namespace}/deployments/worker` };
}

async function byLength(cluster, queues, variant, full) {
  const { api } = cluster;
  const { least } = variant;
  const { queueUrl, path, stack } = await deployed(cluster, queues, `length-${least}`, variant);
  const replicas = async () => (await api.get(path)).spec.replicas;
  const reaches = (wanted, seconds) => eventually(async () => await replicas() === wanted, { seconds, pause: 500 });
  const wrong = async (wanted, when) => [`${when} there are ${await replicas()} replicas instead of ${wanted}`, ...await stateOf(api, stack)];
  if (!await reaches(least, 120)) { return wrong(least, 'without messages'); }
  await queues.fill(queueUrl, MESSAGES);
  if (!await reaches(full, 180)) { return wrong(full, `with ${MESSAGES} messages`); }
  await queues.empty(queueUrl);
  if (!await reaches(least, 240)) { return wrong(least, 'with an empty queue'); }
  return [];
}

/** An autoscaler by CPU does not start from 0, so KEDA has to give the replicas back. */
async function fromNothing(cluster, queues) {
  const [former, next] = [{ ...SCALINGS['keda from 0'], keda: false }, SCALINGS.cpu];
  const { stack, path } = await deployed(cluster, queues, 'nothing', former);
  if (!await eventually(async () => (await cluster.api.get(path)).spec.replicas === 0, { seconds: 120 })) { return ['KEDA never takes the replicas away']; }
  return transition(cluster, stack, former, next, { seconds: 90 });
}

/** The conditions of KEDA's and Kubernetes' scalers, for the report of a failure. */
async function stateOf(api, { namespace }) {
  const paths = [`/apis/keda.sh/v1alpha1/namespaces/${namespace}/scaledobjects`, `/apis/autoscaling/v2/namespaces/${namespace}/horizontalpodautoscalers`];
  const objects = (await Promise.all(paths.map((path) => api.list(path)))).flat();
  return objects.flatMap(({ metadata, status }) => (status?.conditions ?? []).map(({ type, status: value, reason, message }) => `${metadata.name}: ${type} ${value} ${reason}: ${message}`));
}

/** From another scaling to one of KEDA and back, with KEDA's admission and operator at work. */
async function thereAndBack(cluster, queues, other, record) {
  const { stack } = await deployed(cluster, queues, `change-${other.replace(/\W/g, '')}`, SCALINGS[other]);
  const real = (name) => ({ ...SCALINGS[name], keda: false });
  const unsettled = await settle(cluster.api, stack, real(other));
  if (unsettled.length > 0) { record(`${other}, before the change`, unsettled); return; }
  for (const [from, to] of [[other, 'keda'], ['keda', other]]) {
    const problems = await transition(cluster, stack, real(from), real(to), { seconds: 90 }).catch((error) => [error.message]);
    record(`${from} → ${to}`, problems.length === 0 ? [] : [...problems, ...await stateOf(cluster.api, stack)]);
  }
}

/** The local SQS endpoint, behind a server that notes which actions KEDA asks for. */
async function startQueues(folder) {
  const sqs = await SqsEndpoint.start({ dataDir: join(folder, 'sqs'), region: REGION, account: ACCOUNT });
  const client = new SQSClient({ endpoint: sqs.url, region: REGION, credentials: { accessKeyId: 'check', secretAccessKey: 'check' } });
  const actions = new Set();
  const server = createServer((asked, answer) => {
    actions.add(String(asked.headers['x-amz-target'] ?? asked.url).replace('AmazonSQS.', ''));
    const { host: _, ...headers } = asked.headers;
    asked.pipe(request(`${sqs.url}${asked.url}`, { method: asked.method, headers }, (answered) => {
      answer.writeHead(answered.statusCode, answered.headers);
      answered.pipe(answer);
    }));
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    actions,
    create(name) {
      sqs.createQueue({ name, arn: `arn:aws:sqs:${REGION}:${ACCOUNT}:${name}`, attributes: {} }, ACCOUNT);
      return sqs.queueUrl(name, ACCOUNT);
    },
    async fill(QueueUrl, count) {
      for (let first = 0; first < count; first += 10) {
        await client.send(new SendMessageBatchCommand({ QueueUrl, Entries: Array.from({ length: 10 }, (_, index) => ({ Id: `m${index}`, MessageBody: String(first + index) })) }));
      }
    },
    empty: (QueueUrl) => client.send(new PurgeQueueCommand({ QueueUrl })),
    async close() {
      server.close();
      server.closeAllConnections();
      client.destroy();
      await sqs.stop?.();
    },
  };
}

/** Starts KEDA's three programs, with the webhooks and services that its chart installs. */
async function startKeda({ api, folder, kubeconfig, programs }, built, sqsUrl) {
  const definitions = moduleFolder('keda', 'github.com/kedacore/keda/v2');
  await api.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } });
  const [health, grpc, external, adapterPort, webhookPort, webhookHealth] = await freePorts(6);
  const certificates = join(folder, 'keda-certificates');
  mkdirSync(certificates, { mode: 0o700 });
  const env = {
    ...process.env, KUBECONFIG: kubeconfig, POD_NAMESPACE: NAMESPACE, WATCH_NAMESPACE: '', KEDA_CLUSTER_OBJECT_NAMESPACE: NAMESPACE,
    AWS_ACCESS_KEY_ID: 'check', AWS_SECRET_ACCESS_KEY: 'check', AWS_REGION: REGION, AWS_EC2_METADATA_DISABLED: 'true', AWS_ENDPOINT_URL_SQS: sqsUrl,
  };

  // The webhook asks by a Service, as in a cluster, whose certificate the operator makes.
  await externalName(api, 'keda-admission-webhooks', webhookPort);
  for (const object of documentsOf(join(definitions, 'config', 'webhooks', 'validation_webhooks.yaml'))) {
    for (const { clientConfig } of object.webhooks) { clientConfig.service.port = webhookPort; }
    // The chart ignores webhooks that do not answer. Here they must answer.
    for (const webhook of object.webhooks) { webhook.failurePolicy = 'Fail'; }
    await api.serverApply(await api.pathOf(object), object);
  }
  const startOperator = () => programs.start('keda-operator', join(built, 'operator'), [
    '--enable-cert-rotation=true', '--enable-apiservice-patching=false', '--cert-dir', certificates, '--metrics-bind-address', '0',
    '--health-probe-bind-address', `127.0.0.1:${health}`, '--metrics-service-bind-address', `127.0.0.1:${grpc}`, '--kube-api-qps', '200', '--kube-api-burst', '400',
  ], env);
  const first = startOperator();
  // It ends when it has made its certificates. The kubelet would lay them into the pods, and start its pod again.
  const laid = await eventually(async () => {
    const { data } = await api.find(`/api/v1/namespaces/${NAMESPACE}/secrets/${SECRET}`) ?? {};
    for (const [name, value] of Object.entries(data ?? {})) { writeFileSync(join(certificates, name), Buffer.from(value, 'base64'), { mode: 0o600 }); }
    return data?.['tls.crt'] !== undefined;
  }, { seconds: 120 });
  if (!laid) { throw new Error('KEDA made no certificates'); }
  await programs.end(first);
  const operator = startOperator();
  await programs.ready(operator, async () => (await fetch(`http://127.0.0.1:${health}/readyz`)).ok || undefined);

  const webhooks = programs.start('keda-webhooks', join(built, 'webhooks'), [
    '--cert-dir', certificates, '--port', String(webhookPort), '--metrics-bind-address', '0', '--health-probe-bind-address', `127.0.0.1:${webhookHealth}`,
  ], env);
  await programs.ready(webhooks, async () => (await fetch(`http://127.0.0.1:${webhookHealth}/readyz`)).ok || undefined);

  // The API server has no certificate of its own for the servers that it asks, so that they see it as nobody.
  await api.serverApply('/apis/rbac.authorization.k8s.io/v1/clusterroles/metrics-for-nobody', {
    apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'metrics-for-nobody' },
    rules: [{ apiGroups: ['external.metrics.k8s.io'], resources: ['*'], verbs: ['get', 'list'] }, { nonResourceURLs: ['*'], verbs: ['get'] }],
  });
  await api.serverApply('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/metrics-for-nobody', {
    apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', metadata: { name: 'metrics-for-nobody' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'metrics-for-nobody' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'system:unauthenticated' }],
  });
  programs.start('keda-adapter', join(built, 'adapter'), [
    '--secure-port', String(external), '--bind-address', '127.0.0.1', '--port', String(adapterPort), '--cert-dir', certificates,
    '--tls-cert-file', join(certificates, 'tls.crt'), '--tls-private-key-file', join(certificates, 'tls.key'),
    '--metrics-service-address', `127.0.0.1:${grpc}`, '--metrics-service-grpc-authority', `keda-operator.${NAMESPACE}.svc`,
    '--lister-kubeconfig', kubeconfig, '--authentication-kubeconfig', kubeconfig, '--authorization-kubeconfig', kubeconfig, '--authentication-skip-lookup',
  ], env);
  await register(api, { group: 'external.metrics.k8s.io', version: 'v1beta1', service: 'keda-metrics-apiserver', namespace: NAMESPACE, port: external });
}

function externalName(api, name, port) {
  return api.serverApply(`/api/v1/namespaces/${NAMESPACE}/services/${name}`, {
    apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: NAMESPACE },
    spec: { type: 'ExternalName', externalName: 'localhost', ports: [{ port, protocol: 'TCP' }] },
  });
}

const documentsOf = (file) => parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS());
