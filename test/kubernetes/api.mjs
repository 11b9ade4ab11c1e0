// A small client of the Kubernetes API.
import { Agent, request } from 'node:https';

/** An answer that is no success. */
export class ApiError extends Error {
  constructor(method, path, code, status) {
    super(`${method} ${path}: ${code} ${status?.message ?? JSON.stringify(status)}`);
    this.code = code;
    this.status = status;
  }
}

export class Api {
  #agent;
  #kinds;

  constructor({ url, token, ca }) {
    this.url = url;
    this.token = token;
    this.ca = ca;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 16, ca });
  }

  close() {
    this.#agent.destroy();
  }

  /** The answer of a request; an error if it is no success. `warned` is called with each warning of the server. */
  send(method, path, body, type = 'application/json', warned = () => {}) {
    return new Promise((succeed, fail) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const sent = this.#request(method, path, text === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(text) }, (answer) => {
        let received = '';
        answer.setEncoding('utf8').on('data', (part) => { received += part; });
        answer.on('end', () => {
          for (const [, text] of (answer.headers.warning ?? '').matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)) { warned(text); }
          const value = parsed(received);
          if (answer.statusCode < 300) { succeed(value); } else { fail(new ApiError(method, path, answer.statusCode, value)); }
        });
      });
      sent.on('error', fail);
      sent.end(text);
    });
  }

  get(path) { return this.send('GET', path); }

  /** The answer, or undefined if there is nothing at the path. */
  find(path) {
    return this.get(path).catch((error) => {
      if (error.code === 404) { return undefined; }
      throw error;
    });
  }

  async list(path) { return (await this.get(path)).items; }
  create(path, body) { return this.send('POST', path, body); }
  /** Lets the server check an object strictly, without keeping it. Returns the reasons against it. */
  async refusals(object) {
    const { name: _, ...metadata } = object.metadata;
    const path = await this.pathOf({ ...object, metadata });
    const warnings = [];
    try {
      await this.send('POST', `${path}?dryRun=All&fieldValidation=Strict`, object, 'application/json', (text) => warnings.push(text));
      return warnings;
    } catch (error) {
      return [...warnings, error.status?.message ?? error.message];
    }
  }
  remove(path) { return this.send('DELETE', path); }
  merge(path, body) { return this.send('PATCH', path, body, 'application/merge-patch+json'); }
  /** Applies an object on the server: for what the check needs itself, never for what is checked. */
  serverApply(path, body) { return this.send('PATCH', `${path}?fieldManager=check&force=true`, body, 'application/apply-patch+yaml'); }

  /** Calls `seen` with each object at the path, now and when it changes, until the returned function is called. */
  async watch(path, seen) {
    const { items, metadata } = await this.get(path);
    for (const item of items) { seen('ADDED', item); }
    let stopped = false;
    let sent;
    let { resourceVersion } = metadata;
    const open = () => {
      sent = this.#request('GET', `${path}${path.includes('?') ? '&' : '?'}watch=true&resourceVersion=${resourceVersion}`, {}, (answer) => {
        let rest = '';
        answer.setEncoding('utf8').on('data', (part) => {
          const lines = (rest + part).split('\n');
          rest = lines.pop();
          for (const line of lines) {
            const { type, object } = JSON.parse(line);
            resourceVersion = object.metadata?.resourceVersion ?? resourceVersion;
            if (!stopped) { seen(type, object); }
          }
        });
        // The server ends each watch after some minutes.
        answer.on('close', () => { if (!stopped) { open(); } });
      }, false);
      sent.on('error', () => {});
      sent.end();
    };
    open();
    return () => {
      stopped = true;
      sent.destroy();
    };
  }

  /** The path of an object, or of its kind in its namespace if it has no name. */
  async pathOf({ apiVersion, kind, metadata = {} }) {
    const { name: plural, namespaced } = await this.#kind(apiVersion, kind);
    const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const place = namespaced ? `/namespaces/${metadata.namespace ?? 'default'}` : '';
    return `${base}${place}/${plural}${metadata.name === undefined ? '' : `/${metadata.name}`}`;
  }

  /** The paths of all lists that a namespace has. */
  async namespacedLists(namespace) {
    await this.#discover();
    return [...this.#kinds.values()].filter(({ namespaced, verbs }) => namespaced && verbs.includes('list'))
      .map(({ base, name, kind, apiVersion }) => ({ kind, apiVersion, path: `${base}/namespaces/${namespace}/${name}` }));
  }

  /** Forgets the kinds that the server has, after new ones were defined. */
  forgetKinds() {
    this.#kinds = undefined;
  }

  async #kind(apiVersion, kind) {
    await this.#discover();
    const found = this.#kinds.get(`${apiVersion} ${kind}`);
    if (!found) { throw new Error(`the server has no ${kind} of ${apiVersion}`); }
    return found;
  }

  async #discover() {
    if (this.#kinds) { return; }
    const { groups } = await this.get('/apis');
    const versions = groups.filter(({ name }) => !name.endsWith('metrics.k8s.io')).map(({ preferredVersion }) => preferredVersion.groupVersion);
    const kinds = new Map();
    for (const apiVersion of ['v1', ...versions]) {
      const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
      for (const resource of (await this.get(base)).resources.filter(({ name }) => !name.includes('/'))) {
        kinds.set(`${apiVersion} ${resource.kind}`, { ...resource, base, apiVersion });
      }
    }
    this.#kinds = kinds;
  }

  #request(method, path, headers, answered, pooled = true) {
    const agent = pooled ? this.#agent : new Agent({ ca: this.ca });
    return request(`${this.url}${path}`, { method, agent, headers: { ...headers, authorization: `Bearer ${this.token}`, accept: 'application/json' } }, answered);
  }
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return { message: text }; }
}

/** Calls `look` until it returns something, and returns that; undefined if that takes longer. */
export async function eventually(look, { seconds = 30, pause = 100 } = {}) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) { return found; }
    if (Date.now() > deadline) { return undefined; }
    await new Promise((resolve) => { setTimeout(resolve, pause); });
  }
}
