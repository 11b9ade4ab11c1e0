import type { Model, Resource } from '../assembly/model.ts';
import { NAMED, nameOf } from '../assembly/types.ts';
import type { LocalService, RunContext } from '../service.ts';
import { withServiceAddresses } from './addresses.ts';
import type { ServiceAddress } from './addresses.ts';
import { KubernetesReader } from './kubernetes.ts';

/** The charts that work for the cluster itself, with the reason why none of them is missed here. */
const CHARTS_WITHOUT_MEANING: Readonly<Record<string, readonly string[]>> = {
  'nothing is scaled or balanced by the cluster here': ['keda', 'metrics-server', 'aws-load-balancer-controller', 'karpenter', 'cluster-autoscaler'],
  'every process logs to a file, and shows its metrics itself': [
    'opentelemetry-collector', 'opentelemetry-operator', 'opentelemetry-kube-stack', 'amazon-cloudwatch-observability', 'aws-for-fluent-bit', 'fluent-bit',
    'prometheus', 'kube-prometheus-stack', 'kube-state-metrics',
  ],
};

/** Kubernetes, as the manifests of Amazon EKS describe it: each replica is a process, each Service a port on this machine. */
export class LocalKubernetes implements LocalService {
  readonly name = 'kubernetes';
  readonly title = 'Kubernetes';
  readonly types = {
    'Custom::AWSCDK-EKS-KubernetesResource': NAMED,
    'Custom::AWSCDK-EKS-KubernetesObjectValue': { ref: nameOf, attributes: { Value: serviceHost } },
    'Custom::AWSCDK-EKS-HelmChart': NAMED,
  };
  readonly withoutMeaning = {
    'Kubernetes control plane: workloads are processes': [
      'AWS::EKS::Cluster', 'AWS::EKS::Nodegroup', 'AWS::EKS::FargateProfile', 'AWS::EKS::Addon', 'Custom::AWSCDK-EKS-Cluster', 'Custom::AWSCDK-EKS-FargateProfile',
      /^Custom::AWSCDKOpenIdConnectProvider/,
    ],
  };
  readonly #context: RunContext;
  readonly #services: ServiceAddress[] = [];

  constructor(context: RunContext) {
    this.#context = context;
  }

  async start(): Promise<undefined> {
    // The processes start with those of all services, when everything that they need is there.
  }

  async make(model: Model): Promise<undefined> {
    for (const chart of model.ofType('Custom::AWSCDK-EKS-HelmChart')) this.#readChart(chart);
    const reader = new KubernetesReader(this.#context);
    reader.read(model);
    const { workloads } = this.#context;
    for (const service of reader.services) this.#services.push({ name: service.name, ports: await workloads.expose(service) });
  }

  #readChart(resource: Resource): void {
    const given = resource.source.Properties?.Chart;
    const chart = typeof given === 'string' ? given.split('/').at(-1) ?? '' : 'of an unknown name';
    const reason = Object.keys(CHARTS_WITHOUT_MEANING).find((each) => CHARTS_WITHOUT_MEANING[each]?.includes(chart));
    if (reason !== undefined) this.#context.leaveOut(`Helm chart ${chart}: ${reason}`);
    else this.#context.warn(`The local run cannot make ${resource.constructPath} (Helm chart ${chart}): none of its objects is there.`);
  }

  environment(given: Readonly<Record<string, string>>): Record<string, string> {
    return withServiceAddresses(given, this.#services);
  }

  async stop(): Promise<void> {
    // The workloads of the run stop them.
  }
}

/** The load balancer of a Service is the Service itself here, whose name in the cluster the processes know. */
function serviceHost(value: Resource): string | undefined {
  const [type, path = '', name, namespace = 'default'] = ['ObjectType', 'JsonPath', 'ObjectName', 'ObjectNamespace'].map((property) => value.text(property));
  const asksForHost = /^(service|services|svc)$/i.test(type ?? '') && /^\{?\.?status\.loadBalancer\.ingress\[0\]\.(hostname|ip)\}?$/.test(path);
  return asksForHost ? `${name}.${namespace}.svc.cluster.local` : undefined;
}
