// A container as somebody else would have written it: no library of this repository, no AWS SDK, its own health path.
import { createServer } from 'node:http';
import { spawn } from 'node:child_process';

const child = process.env.WITH_CHILD ? spawn('sleep', ['600'], { stdio: 'ignore' }) : undefined;
let alive = true;
let ready = true;
const answer = (response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ pid: process.pid, child: child?.pid, args: process.argv.slice(2), env: process.env, node: process.version }));
};
const management = createServer((request, response) => {
  switch (request.url) {
    case '/health':
      response.statusCode = ready ? 200 : 503;
      return response.end();
    case '/alive':
      response.statusCode = alive ? 200 : 500;
      return response.end();
    default:
      return answer(response);
  }
});
const server = createServer((request, response) => {
  switch (request.url) {
    case '/health':
    case '/alive':
      response.statusCode = 404;
      return response.end();
    case '/sicken':
      alive = false;
      return response.end();
    case '/unready':
      ready = false;
      return response.end();
    default:
      return answer(response);
  }
});
management.listen(Number(process.env.MANAGEMENT_PORT), process.env.HOST);
server.listen(Number(process.env.PORT), process.env.HOST, () => console.log(`listening on ${process.env.PORT}`));
process.on('SIGTERM', () => {
  console.log('draining');
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
