// Both APIs at one address, as a load balancer has it, over a database of their own, with tokens of an issuer of their own. For
// scripts/test-fuzz.mjs, which starts this as a child process and ends it by disconnecting.
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveIssuer } from 'cdk-local-run/issuer/endpoint';
import { TokenIssuer } from 'cdk-local-run/issuer/token-issuer';
import { Registry } from 'prom-client';
import { documents } from '../scripts/contracts/documents.ts';
import { createReadApi } from '../services/order-service/api-read-service/api.ts';
import { createWriteApi } from '../services/order-service/api-write-service/api.ts';
import { createAuthentication } from '../services/shared/http/authentication-config.ts';
import { withoutAuthorization, type Authentication } from '../services/shared/http/caller.ts';
import { eventually, silentLogger, startTestServer } from '../services/shared/testing.ts';

const ISSUER = 'https://issuer.example.com';
const AUDIENCE = 'orders';

/** With a hole, so that the fuzzer shows that it finds it. */
const hole = process.argv[2];

const server = await startTestServer();
const db = await server.database();
// The first names that a fuzzer makes up, and that of the examples.
await db.admin.query(`INSERT INTO inventory.product SELECT sku, 'Product ' || sku FROM unnest('{SKU-123,0,00,1,A}'::text[]) AS s (sku);
  INSERT INTO inventory.stock_level (sku, on_hand) SELECT sku, 1000000 FROM inventory.product`);

const logger = silentLogger();
const issuer = new TokenIssuer();
const endpoint = await serveIssuer(issuer, { log: () => undefined });
const authentication = createAuthentication({
  API_AUTHORIZATION: 'jwt', API_JWT_ISSUER: ISSUER, API_JWT_AUDIENCE: AUDIENCE, API_JWKS_URL: `${endpoint.url}/jwks.json`, API_CUSTOMER_CLAIM: 'sub',
}, { logger, registry: new Registry() });
await eventually(() => authentication.ready(), (ready) => ready === true);

const withHole: Authentication = hole === 'no authentication' ? withoutAuthorization : hole !== 'no isolation' ? authentication : {
  ...authentication,
  authenticate: async (header, scope) => ({ ...await authentication.authenticate(header, scope), customerId: undefined }),
};
const common = { authentication: withHole, logger };
const write = createWriteApi({ ...common, pool: db.command, registry: new Registry() });
const read = createReadApi({ ...common, reader: db.query, writer: db.query, registry: new Registry() });
const [writeUrl, readUrl] = await Promise.all([write, read].map((app) => app.listen({ host: '127.0.0.1', port: 0 })));

const agent = new Agent({ keepAlive: true });
const both = createServer((incoming, outgoing) => {
  const { port } = new URL((incoming.method === 'GET' || incoming.method === 'HEAD' ? readUrl : writeUrl)!);
  const forwarded = request({ agent, host: '127.0.0.1', port, method: incoming.method, path: incoming.url, headers: incoming.headers }, (answer) => {
    outgoing.writeHead(answer.statusCode!, answer.rawHeaders);
    answer.pipe(outgoing);
  });
  forwarded.on('error', () => outgoing.destroy());
  incoming.pipe(forwarded);
});
both.listen(0, '127.0.0.1');
await once(both, 'listening');

const tokens = await Promise.all(['cust-42', 'cust-43'].map(async (name) => [name, await issuer.token({
  subject: name, scope: 'orders.read orders.write', issuer: ISSUER, audience: AUDIENCE,
})]));
process.send?.({ url: `http://127.0.0.1:${(both.address() as AddressInfo).port}`, openapi: (await documents()).openapi, tokens: Object.fromEntries(tokens) as unknown });

process.once('disconnect', async () => {
  agent.destroy();
  both.close();
  both.closeAllConnections();
  authentication.stop();
  await Promise.all([write.close(), read.close(), endpoint.close()]);
  await server.stop();
});
