import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';

const sqs = new SQSClient({});

export async function handler({ Records }) {
  const batchItemFailures = [];
  for (const { messageId, body } of Records) {
    try {
      const { orderId, quantity } = JSON.parse(body).detail;
      if (!(quantity > 0)) throw new Error(`order ${orderId} has no quantity`);
      await sqs.send(new SendMessageCommand({ QueueUrl: process.env.RESERVATIONS_URL, MessageBody: JSON.stringify({ orderId, reserved: quantity }) }));
    } catch (error) {
      console.error(error);
      batchItemFailures.push({ itemIdentifier: messageId });
    }
  }
  return { batchItemFailures };
}
