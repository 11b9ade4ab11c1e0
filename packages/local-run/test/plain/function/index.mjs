import { appendFileSync } from 'node:fs';

export async function handler({ Records }) {
  for (const { body } of Records) appendFileSync(process.env.SEEN, `${JSON.stringify(JSON.parse(body).detail)}\n`);
}
