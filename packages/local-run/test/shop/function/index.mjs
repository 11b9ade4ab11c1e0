// A Lambda consumer as somebody else would have written it: writes what it saw, fails for the poisoned ones.
import { appendFileSync } from 'node:fs';

export async function handler(event, context) {
  const batchItemFailures = [];
  for (const { messageId, body, attributes } of event.Records) {
    const { detail } = JSON.parse(body);
    const poison = detail.poison === true;
    appendFileSync(process.env.SEEN, `${JSON.stringify({ id: detail.id, poison, receives: Number(attributes.ApproximateReceiveCount), pid: process.pid, function: context.functionName })}\n`);
    if (poison) batchItemFailures.push({ itemIdentifier: messageId });
  }
  return { batchItemFailures };
}
