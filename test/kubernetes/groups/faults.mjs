// Mistakes that are made on purpose. Each must be found, which proves that the checks can fail.
import { settle, waitForCleanup } from '../inspect.mjs';
import { newStack } from '../namespaces.mjs';
import { CHANGES, EXPOSURES, SCALINGS } from '../programs.mjs';
import { again, variantOf } from './matrix.mjs';
import { transition } from './transitions.mjs';

const exposed = { ...EXPOSURES['inside the cluster'] };
const keda = SCALINGS['keda with cpu'];

/** Changes an object of a kind; the others stay. `edit` may return other objects in its place. */
const edited = (kind, edit) => (object) => {
  if (object.kind !== kind) { return [object]; }
  const copy = structuredClone(object);
  return edit(copy) ?? [copy];
};
const container = ({ spec }) => spec.template.spec.containers[0];

/** The name of each mistake, a change of the objects, and a part of the finding. */
const MISTAKES = {
  'an unknown field': [exposed, edited('Deployment', ({ spec }) => { spec.replica = 2; }), /unknown field "spec\.replica"/],
  'a version of the API that does not exist': [exposed, edited('HorizontalPodAutoscaler', (object) => { object.apiVersion = 'autoscaling/v9'; }), /no HorizontalPodAutoscaler of autoscaling\/v9/],
  'pods without the labels of their Deployment': [exposed, edited('Deployment', ({ spec }) => { spec.template.metadata.labels = { a: 'b' }; }), /does not match template/],
  'an environment variable with =': [exposed, edited('Deployment', (object) => { container(object).env.push({ name: 'A=B', value: 'x' }); }), /env/],
  'more memory requested than allowed': [exposed, edited('Deployment', (object) => { container(object).resources.requests.memory = '8Gi'; }), /must be less than or equal to memory limit/],
  'a Service that selects no pod': [exposed, edited('Service', ({ spec }) => { spec.selector = { 'app.kubernetes.io/name': 'others' }; }), /Service api: it selects no pod/],
  'a Service for a port that no container has': [exposed, edited('Service', ({ spec }) => { spec.ports[0].targetPort = 'web'; }), /Service api: it does not lead to its/],
  'a NetworkPolicy for other pods': [exposed, edited('NetworkPolicy', ({ spec }) => { spec.podSelector.matchLabels = { a: 'b' }; }), /no NetworkPolicy selects the pod/],
  'a disruption budget for other pods': [exposed, edited('PodDisruptionBudget', ({ spec }) => { spec.selector.matchLabels = { a: 'b' }; }), /it selects no Deployment/],
  'an autoscaler for another Deployment': [exposed, edited('HorizontalPodAutoscaler', ({ spec }) => { spec.scaleTargetRef.name = 'others'; }), /replicas, not 2 to 10|which is in no manifest/],
  'two autoscalers for one Deployment': [exposed, edited('HorizontalPodAutoscaler', (object) => {
    const second = structuredClone(object);
    second.metadata.name = 'second';
    return [object, second];
  }), /2 autoscalers|AmbiguousSelector|it does not work/],
  'a service account that does not exist': [exposed, edited('Deployment', ({ spec }) => { spec.template.spec.serviceAccountName = 'nobody'; }), /its service account nobody|Timeout waiting for output/],
  'pods that run as root': [exposed, edited('Deployment', ({ spec }) => {
    delete spec.template.spec.securityContext.runAsNonRoot;
    spec.template.spec.securityContext.runAsUser = 0;
  }), /PodSecurity|violates/],
  'a container that may gain rights': [exposed, edited('Deployment', (object) => { delete container(object).securityContext.allowPrivilegeEscalation; }), /PodSecurity|violates/],
  'a probe of a port that the container does not have': [exposed, edited('Deployment', (object) => { container(object).readinessProbe.httpGet.port = 'web'; }), /its probe asks the port web/],
  'a node that nobody has': [exposed, edited('Deployment', ({ spec }) => { spec.template.spec.nodeSelector = { 'kubernetes.io/arch': 's390x' }; }), /Timeout waiting for output|is not rolled out/],
  'no label of the program': [exposed, edited('ServiceAccount', ({ metadata }) => { delete metadata.labels['app.kubernetes.io/name']; }), /has no label app\.kubernetes\.io\/name/],
  'an empty list that the server drops': [exposed, edited('NetworkPolicy', ({ spec }) => { spec.ingress = []; }), /NetworkPolicy api differs: spec\.ingress/],
  'a misspelled setting of KEDA': [keda, edited('ScaledObject', ({ spec }) => { spec.pollingIntervall = 5; }), /unknown field "spec\.pollingIntervall"/],
  'a setting of KEDA of the wrong type': [keda, edited('ScaledObject', ({ spec }) => { spec.minReplicaCount = 'two'; }), /minReplicaCount/],
  'an authentication of KEDA that does not exist': [keda, edited('ScaledObject', ({ spec }) => { spec.triggers[0].authenticationRef.name = 'other'; }), /its authentication other is in no manifest/],
  'a security group for other pods': [CHANGES['security group of the pods'][1], edited('SecurityGroupPolicy', ({ spec }) => { spec.podSelector.matchLabels = { a: 'b' }; }), /SecurityGroupPolicy api: it selects no program/],
};

export function faults(cluster) {
  return [
    ...Object.entries(MISTAKES).map(([name, [variant, change, finding]]) => [name, () => found(finding, () => variantOf(cluster, variant, { change, timeoutSeconds: 15 }))]),
    ['an object that no manifest has', () => found(/ServiceAccount left is left behind/, async () => {
      const stack = await newStack(cluster);
      await stack.deploy(exposed.template());
      await cluster.api.create(`/api/v1/namespaces/${stack.namespace}/serviceaccounts`, { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'left' } });
      return waitForCleanup(cluster.api, stack, 1);
    })],
    ['an autoscaler of the former deployment', () => found(/HorizontalPodAutoscaler .* is left behind/, async () => {
      const stack = await newStack(cluster);
      const former = SCALINGS.cpu.template();
      await stack.deploy(former);
      const [scaler] = stack.objects().filter(({ kind }) => kind === 'HorizontalPodAutoscaler');
      await stack.deploy(SCALINGS.keda.template());
      const { resourceVersion: _, ...metadata } = scaler.metadata;
      await cluster.api.serverApply(await cluster.api.pathOf(scaler), { ...scaler, metadata });
      return waitForCleanup(cluster.api, stack, 1);
    })],
    ['a number of replicas that falls on the way', () => found(/had 1 replicas on the way/, async () => {
      const stack = await newStack(cluster);
      await stack.deploy(exposed.template());
      await settle(cluster.api, stack, exposed);
      // As an apply does that takes a number out of a Deployment which had one.
      stack.change = edited('Deployment', ({ spec }) => { spec.replicas = 1; });
      return transition(cluster, stack, exposed, { ...exposed, template: EXPOSURES['load balancer'].template });
    })],
    ['an apply that writes', () => found(/a second apply/, async () => {
      const stack = await newStack(cluster);
      await stack.deploy(exposed.template());
      const [policy] = stack.objects().filter(({ kind }) => kind === 'NetworkPolicy');
      await cluster.api.merge(await cluster.api.pathOf(policy), { spec: { egress: [] } });
      return again(cluster.api, stack);
    })],
  ];
}

/** The problem that a mistake was not found, or found with other words. */
async function found(finding, check) {
  const problems = await check().catch((error) => [error.message]);
  return problems.some((problem) => finding.test(problem)) ? [] : [problems.length === 0 ? 'it was not found' : `it was found with other words: ${problems.join('; ')}`];
}
