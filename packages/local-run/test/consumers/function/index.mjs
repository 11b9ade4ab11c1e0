// Writes down what it gets. Fails for what says so, once, and as a FIFO consumer has to, for all that follows in its group.
import { appendFileSync } from 'node:fs';

export async function handler(event) {
  const failed = new Set();
  const batchItemFailures = [];
  for (const { messageId, body, attributes, eventSourceARN } of event.Records) {
    const message = JSON.parse(body);
    const group = attributes.MessageGroupId;
    const fails = (message.failures ?? 0) >= Number(attributes.ApproximateReceiveCount) || (group !== undefined && failed.has(group));
    if (fails) {
      failed.add(group);
      batchItemFailures.push({ itemIdentifier: messageId });
    } else {
      appendFileSync(process.env.SEEN, `${JSON.stringify({ queue: eventSourceARN.split(':').at(-1), group, message })}\n`);
    }
  }
  return { batchItemFailures };
}
