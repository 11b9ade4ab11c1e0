/** Tells the customer; the messages that failed go back to the queue alone. */
export async function handler(batch) {
  const batchItemFailures = [];
  for (const message of batch.Records) {
    try {
      const { 'detail-type': type, detail } = JSON.parse(message.body);
      console.log(JSON.stringify({ type, orderId: detail.subject }));
    } catch {
      batchItemFailures.push({ itemIdentifier: message.messageId });
    }
  }
  return { batchItemFailures };
}
