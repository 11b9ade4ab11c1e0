import type { LocalSecretsManager } from '../secretsmanager/local-secrets-manager.ts';
import type { LocalService, RunContext } from '../service.ts';
import { acceptsTokens, prepareDatabase, startDatabases } from './databases.ts';
import type { LocalDatabase } from './databases.ts';
import type { Failover } from './failover.ts';
import { withDatabasePort } from './ports.ts';
import type { DatabasePorts } from './ports.ts';
import type { Model, Resource } from '../assembly/model.ts';
import { LocalRunError } from '../errors.ts';
import { attachSecrets, managedSecretName, masterCredentials } from '../secretsmanager/secrets.ts';

const PROXY_PORT = '5432';

/** Amazon RDS and Aurora: a real PostgreSQL for each cluster and each instance that stands alone, with a replica if there are readers. */
export class LocalRds implements LocalService {
  readonly name = 'rds';
  readonly title = 'database';
  readonly step = 'database';
  readonly types = {
    'AWS::RDS::DBCluster': {
      ref: (cluster: Resource) => cluster.physicalName('DBClusterIdentifier', 63),
      attributes: {
        'DBClusterArn': (cluster: Resource) => cluster.arn('rds', `cluster:${cluster.physicalName('DBClusterIdentifier', 63)}`),
        'DBClusterResourceId': (cluster: Resource) => `cluster-${cluster.id.toUpperCase()}`,
        'Endpoint.Address': (cluster: Resource) => this.#databaseOf(cluster)?.server.writer.host,
        'Endpoint.Port': (cluster: Resource) => this.#databaseOf(cluster)?.server.writer.port.toString(),
        // The replica has a port of its own here, so the port is part of its address.
        'ReadEndpoint.Address': (cluster: Resource) => {
          const server = this.#databaseOf(cluster)?.server;
          return server && `${server.writer.host}:${(server.reader ?? server.writer).port}`;
        },
        'MasterUserSecret.SecretArn': (cluster: Resource) => this.#masterSecret(cluster),
      },
    },
    'AWS::RDS::DBInstance': {
      ref: (instance: Resource) => instance.physicalName('DBInstanceIdentifier', 63),
      attributes: {
        'DBInstanceArn': (instance: Resource) => instance.arn('rds', `db:${instance.physicalName('DBInstanceIdentifier', 63)}`),
        'DbiResourceId': (instance: Resource) => `db-${instance.id.toUpperCase()}`,
        'Endpoint.Address': (instance: Resource) => this.#databaseOf(instance)?.server.writer.host,
        'Endpoint.Port': (instance: Resource) => this.#databaseOf(instance)?.server.writer.port.toString(),
        'MasterUserSecret.SecretArn': (instance: Resource) => this.#masterSecret(instance),
      },
    },
    'AWS::RDS::DBProxy': {
      ref: (proxy: Resource) => proxy.physicalName('DBProxyName', 63),
      attributes: {
        DBProxyArn: (proxy: Resource) => proxy.arn('rds', `db-proxy:${proxy.physicalName('DBProxyName', 63)}`),
        Endpoint: (proxy: Resource) => this.#databaseBehind(proxy)?.server.writer.host,
      },
    },
    'AWS::RDS::DBProxyEndpoint': {
      ref: (endpoint: Resource) => endpoint.physicalName('DBProxyEndpointName', 63),
      attributes: {
        DBProxyEndpointArn: (endpoint: Resource) => endpoint.arn('rds', `db-proxy-endpoint:${endpoint.physicalName('DBProxyEndpointName', 63)}`),
        Endpoint: (endpoint: Resource) => this.#proxyEndpoint(endpoint),
        TargetRole: (endpoint: Resource) => endpoint.get('TargetRole') ?? 'READ_WRITE',
      },
    },
    'AWS::RDS::DBProxyTargetGroup': {
      ref: targetGroupArn,
      attributes: { TargetGroupArn: targetGroupArn },
    },
  };
  readonly withoutMeaning = {
    'network: everything listens on 127.0.0.1': ['AWS::RDS::DBSubnetGroup'],
    'database settings: except for timeouts and the log of locks, the local server has its own': [
      'AWS::RDS::DBClusterParameterGroup', 'AWS::RDS::DBParameterGroup', 'AWS::RDS::OptionGroup', 'AWS::RDS::EventSubscription',
    ],
  };
  /** The running databases. */
  readonly databases: LocalDatabase[] = [];
  readonly #context: RunContext;
  readonly #secrets: LocalSecretsManager;
  readonly #ports: DatabasePorts = { writers: new Map(), readers: new Map() };
  /** The databases behind proxies, by the name of the proxy. */
  readonly #behindProxies = new Map<unknown, LocalDatabase>();

  constructor(context: RunContext, secrets: LocalSecretsManager) {
    this.#context = context;
    this.#secrets = secrets;
  }

  async start(model: Model): Promise<string | undefined> {
    await startDatabases(model, this.#context, this.databases);
    this.#rememberPorts();
    this.#readProxies(model);
    this.#context.leaveOut('tokens of IAM: a role with rds_iam logs in without a check of its token', this.#withTokens.length);
    if (this.databases.length === 0) return undefined;
    return this.databases.map(({ server: { writer, reader } }) =>
      `PostgreSQL on port ${writer.port}${reader ? `, replica on port ${reader.port}` : ''}`).join('; ');
  }

  /** The ports that the templates state, and those where the servers and their replicas listen here. */
  #rememberPorts(): void {
    for (const { resource, server: { writer, reader } } of this.databases) {
      const declared = resource.source.Properties?.Port;
      const stated = typeof declared === 'number' || typeof declared === 'string' ? String(declared) : undefined;
      if (stated !== undefined) this.#ports.writers.set(stated, writer.port);
      for (const port of [stated, String(writer.port)]) if (port !== undefined && reader) this.#ports.readers.set(port, reader.port);
    }
  }

  /** The address of a proxy is that of its database here. A proxy has the usual port of PostgreSQL, whatever the one of the database is. */
  #readProxies(model: Model): void {
    for (const group of model.ofType('AWS::RDS::DBProxyTargetGroup')) {
      const targets = [group.get('DBClusterIdentifiers'), group.get('DBInstanceIdentifiers')].flat();
      const database = this.databases.find(({ resource }) => targets.includes(resource.ref()));
      if (!database) continue;
      this.#behindProxies.set(group.text('DBProxyName'), database);
      const { writer, reader } = database.server;
      if (!this.#ports.writers.has(PROXY_PORT)) this.#ports.writers.set(PROXY_PORT, writer.port);
      if (reader && !this.#ports.readers.has(PROXY_PORT)) this.#ports.readers.set(PROXY_PORT, reader.port);
    }
    for (const proxy of model.ofType('AWS::RDS::DBProxy').filter((each) => !this.#databaseBehind(each))) {
      this.#context.warn(`The local run cannot make ${proxy.constructPath} (${proxy.type}): no PostgreSQL of this run is behind it, so a workload whose `
        + 'template needs its address is not started.');
    }
    this.#context.leaveOut('pools of RDS Proxy: its address is that of the database', this.#behindProxies.size);
  }

  async make(model: Model): Promise<undefined> {
    // First every secret, as one that is attached to a database may hold the credentials of another.
    const masters = this.databases.map((database) => masterCredentials(database.resource, this.#secrets.store));
    attachSecrets(model, this.#secrets.store, this.databases);
    for (const [index, database] of this.databases.entries()) await prepareDatabase(database, masters[index]!);
  }

  environment(given: Readonly<Record<string, string>>): Record<string, string> {
    const [file] = this.#withTokens.map(({ server }) => server.certificateFile);
    return {
      ...Object.fromEntries(Object.entries(given).map(([name, value]) => [name, withDatabasePort(name, value, this.#ports)])),
      // A token is sent on an encrypted connection only, and the certificate here is not one of AWS. The first name is that of libpq.
      // With a password, no encryption is needed on loopback.
      ...(file !== undefined && { PGSSLROOTCERT: file, ...(given.DB_AUTHENTICATION === 'iam' && { DB_CA_FILE: file }) }),
    };
  }

  async pauseReplicas(): Promise<void> {
    for (const { server } of this.databases) if (server.reader) await server.pauseReplay();
  }

  async resumeReplicas(): Promise<void> {
    for (const { server } of this.databases) if (server.reader) await server.resumeReplay();
  }

  /** Kills the writer of the first database, which is the one that the run shows, and promotes its replica. */
  async failover(): Promise<Failover> {
    const [first] = this.databases;
    if (!first) throw new LocalRunError('There is no database in this run whose replica could be promoted.');
    return first.server.failover();
  }

  async stop(): Promise<void> {
    await Promise.all(this.databases.map(({ server }) => server.stop()));
  }

  get #withTokens(): LocalDatabase[] {
    return this.databases.filter(({ resource }) => acceptsTokens(resource));
  }

  #databaseOf(resource: Resource): LocalDatabase | undefined {
    return this.databases.find((database) => database.resource === resource
      || resource.source.Properties?.DBClusterIdentifier !== undefined && database.resource.ref() === resource.text('DBClusterIdentifier'));
  }

  #databaseBehind(proxy: Resource): LocalDatabase | undefined {
    return this.#behindProxies.get(proxy.ref());
  }

  /** The address of an endpoint. As for the cluster, that of a replica has its port. */
  #proxyEndpoint(endpoint: Resource): string | undefined {
    const server = this.#behindProxies.get(endpoint.text('DBProxyName'))?.server;
    if (!server) return undefined;
    return endpoint.get('TargetRole') === 'READ_ONLY' ? `${server.writer.host}:${(server.reader ?? server.writer).port}` : server.writer.host;
  }

  #masterSecret(resource: Resource): string | undefined {
    const database = this.#databaseOf(resource);
    return database && this.#secrets.store.arn(managedSecretName(database.resource));
  }
}

function targetGroupArn(group: Resource): string {
  return group.arn('rds', `target-group:${group.id}`);
}
