// Deploys the custom resources of a template as CloudFormation does: creates and updates in the order of their dependencies, and deletes
// what the new template has no more in the end. The handler is aws-cdk-lib's own.
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { NAMESPACE } from './programs.mjs';
import { evaluator, inOrder } from './template.mjs';

const RESOURCE = 'Custom::AWSCDK-EKS-KubernetesResource';
const VALUE = 'Custom::AWSCDK-EKS-KubernetesObjectValue';
const PATCH = 'Custom::AWSCDK-EKS-KubernetesPatch';

const cdk = dirname(createRequire(import.meta.url).resolve('aws-cdk-lib/package.json'));
// The older module's handler also takes a role.
const handlerOf = ({ RoleArn }) => join(cdk, 'custom-resource-handlers', 'dist', RoleArn === undefined ? 'aws-eks-v2' : 'aws-eks', 'kubectl-handler');

/** The failure of a resource, which would roll the stack back. */
export class DeploymentFailed extends Error {
  constructor(resource, requestType, output) {
    super(`${requestType} of ${resource} failed: ${output.trim().split('\n').at(-1)}`);
    this.resource = resource;
  }
}

/** A stack in the cluster, in a namespace of its own. */
export class Stack {
  #template = { Resources: {} };
  #properties = new Map();
  #data = {};
  #deployments = 0;

  /**
   * `from` is the namespace that the templates name, and `namespace` the one that the objects get. `timeoutSeconds` is the limit of waits,
   * instead of the one of the template. `change` is called with each object, and returns the objects that are applied in its place.
   */
  constructor(cluster, { namespace, from = NAMESPACE, values, timeoutSeconds = 60, change = (object) => [object] }) {
    this.cluster = cluster;
    this.namespace = namespace;
    this.from = from;
    this.values = values;
    this.timeoutSeconds = timeoutSeconds;
    this.change = change;
    this.folder = join(cluster.folder, 'stacks', namespace);
    mkdirSync(this.folder, { recursive: true });
  }

  /** Deploys a template in place of the former one. Returns the lines that kubectl printed. */
  async deploy(template, { backwards = this.#deployments++ % 2 === 1 } = {}) {
    const former = this.#template;
    const lines = [];
    for (const id of inOrder(template, { backwards }).filter((name) => isOurs(template.Resources[name]))) {
      lines.push(...await this.#put(id, template));
    }
    // What failed above is not cleaned up: CloudFormation does this only after the new template is complete.
    this.#template = template;
    for (const id of inOrder(former, { backwards }).reverse().filter((name) => isOurs(former.Resources[name]) && !(name in template.Resources))) {
      await this.#remove(id, former.Resources[id]);
    }
    return lines;
  }

  /** Applies all manifests again, as an update that changes nothing in them. */
  async repeat() {
    const lines = [];
    for (const [id, properties] of this.#properties) {
      if (this.#template.Resources[id].Type === RESOURCE) { lines.push(...(await this.#run('Update', id, RESOURCE, properties, properties)).lines); }
    }
    return lines;
  }

  /** Deletes the stack. */
  destroy() {
    return this.deploy({ Resources: {} });
  }

  /** All objects of the manifests that are deployed. */
  objects() {
    return [...this.#properties.values()].flatMap(({ Manifest }) => (Manifest === undefined ? [] : JSON.parse(Manifest)));
  }

  /** The objects that a template would apply here. */
  objectsOf(template) {
    return this.#evaluated(template).flatMap(([, { Manifest }]) => (Manifest === undefined ? [] : JSON.parse(Manifest)));
  }

  async #put(id, template) {
    const { Type } = template.Resources[id];
    const [[, properties]] = this.#evaluated(template, id);
    const old = this.#properties.get(id);
    if (old && JSON.stringify(old) === JSON.stringify(properties)) { return []; }
    const { result, lines } = await this.#run(old ? 'Update' : 'Create', id, Type, properties, old);
    this.#properties.set(id, properties);
    this.#data[id] = result?.Data ?? {};
    return lines;
  }

  async #remove(id, { Type, DeletionPolicy }) {
    if (DeletionPolicy !== 'Retain') { await this.#run('Delete', id, Type, this.#properties.get(id)); }
    this.#properties.delete(id);
    delete this.#data[id];
  }

  #evaluated(template, only) {
    const value = evaluator(template, { values: this.values, data: this.#data });
    const ids = only === undefined ? Object.keys(template.Resources).filter((id) => isOurs(template.Resources[id])) : [only];
    return ids.map((id) => [id, this.#relocated(asText(value(template.Resources[id].Properties)))]);
  }

  /** The properties with the namespace of this stack instead of any other, so that stacks of the same cluster can be side by side. */
  #relocated(properties) {
    const place = ({ metadata: { namespace, labels, ...metadata }, kind, ...object }) => ({
      ...object, kind,
      metadata: {
        ...metadata,
        ...kind === 'Namespace' ? { name: metadata.name === this.from ? this.namespace : `${metadata.name}-${this.namespace}` } : {},
        ...namespace === undefined ? {} : { namespace: this.namespace },
        ...labels === undefined ? {} : { labels: Object.fromEntries(Object.entries(labels).map(([key, text]) => [this.#pruneLabel(key), text])) },
      },
    });
    const { Manifest, ObjectNamespace, PruneLabel, TimeoutSeconds } = properties;
    return {
      ...properties,
      ...Manifest === undefined ? {} : { Manifest: JSON.stringify(JSON.parse(Manifest).map(place).flatMap(this.change)) },
      ...PruneLabel === undefined ? {} : { PruneLabel: this.#pruneLabel(PruneLabel) },
      ...ObjectNamespace === this.from ? { ObjectNamespace: this.namespace } : {},
      ...TimeoutSeconds === undefined ? {} : { TimeoutSeconds: String(this.timeoutSeconds) },
    };
  }

  /** Pruning looks at the namespaces of the whole cluster, too. */
  #pruneLabel(key) {
    return key.startsWith('aws.cdk.eks/prune-') ? `${key.slice(0, 60)}-${this.namespace}`.slice(0, 75) : key;
  }

  #run(requestType, id, resourceType, properties, old) {
    const event = {
      RequestType: requestType, ResourceType: resourceType, LogicalResourceId: id, RequestId: id, StackId: this.namespace, ResponseURL: '...',
      ResourceProperties: properties, ...old === undefined ? {} : { OldResourceProperties: old }, ...requestType === 'Create' ? {} : { PhysicalResourceId: id },
    };
    const { handlerPrograms, python, runner } = this.cluster;
    const env = {
      PATH: `${handlerPrograms}:${process.env.PATH}`, HOME: this.folder, TEST_OUTDIR: this.folder, LOCAL_KUBECONFIG: this.cluster.kubeconfig,
      PYTHONDONTWRITEBYTECODE: '1', KUBECACHEDIR: join(this.cluster.folder, 'kubectl-cache'),
    };
    return new Promise((succeed, fail) => {
      const child = spawn(python, [runner, handlerOf(properties)], { env, stdio: ['pipe', 'pipe', 'pipe'] });
      let stdout = '';
      let stderr = '';
      child.stdout.setEncoding('utf8').on('data', (text) => { stdout += text; });
      child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text; });
      child.on('error', fail);
      child.on('close', (code) => {
        if (code !== 0) { fail(new DeploymentFailed(id, requestType, stderr)); return; }
        // kubectl's output is in the log, as Python shows bytes.
        const lines = [...stderr.matchAll(/^b(['"])(.*)\1$/gm)].flatMap(([, , text]) => text.split('\\n')).filter((line) => line !== '');
        const failed = /^delete error: (.*)$/m.exec(stderr);
        succeed({ result: JSON.parse(stdout.trim().split('\n').at(-1)), lines: failed ? [...lines, failed[0]] : lines });
      });
      child.stdin.end(JSON.stringify(event));
    });
  }
}

/** Helm charts are not installed here. */
const isOurs = ({ Type }) => Type === RESOURCE || Type === VALUE || Type === PATCH;

/** CloudFormation gives numbers and booleans to custom resources as text. */
function asText(value) {
  if (Array.isArray(value)) { return value.map(asText); }
  if (typeof value === 'object' && value !== null) { return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, asText(field)])); }
  return value === undefined ? value : String(value);
}
