// A container as somebody else would have written it: no library of this repository, no AWS SDK, its own health path.
import { createServer } from 'node:http';
import { spawn } from 'node:child_process';

const child = process.env.WITH_CHILD ? spawn('sleep', ['600'], { stdio: 'ignore' }) : undefined;
let alive = true;
let ready = true;
const server = createServer((request, response) => {
  switch (request.url) {
    case '/health':
      response.statusCode = ready ? 200 : 503;
      return response.end();
    case '/alive':
      response.statusCode = alive ? 200 : 500;
      return response.end();
    case '/sicken':
      alive = false;
      return response.end();
    case '/unready':
      ready = false;
      return response.end();
    default:
      response.setHeader('content-type', 'application/json');
      return response.end(JSON.stringify({ pid: process.pid, child: child?.pid, args: process.argv.slice(2), env: process.env, node: process.version }));
  }
});
server.listen(Number(process.env.PORT), process.env.HOST, () => console.log(`listening on ${process.env.PORT}`));
process.on('SIGTERM', () => {
  console.log('draining');
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
