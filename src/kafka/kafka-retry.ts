import type { Duration } from 'aws-cdk-lib';

/**
 * The retries of a failed event on Kafka.
 */
export class KafkaRetry {
  /**
   * Retries on retry topics, one for each delay, and then a dead-letter topic. Other events are processed meanwhile, so the order of the
   * events with the same key is not kept: the handler has to check their versions.
   *
   * @param delays how long an event waits before each further try
   */
  public static topics(...delays: Duration[]): KafkaRetry {
    return new KafkaRetry(delays.length, delays);
  }

  /**
   * Retries at once and in place, so that the events of a partition wait and keep their order.
   *
   * @param attempts the number of tries before the event goes to the dead-letter topic
   */
  public static blocking(attempts: number): KafkaRetry {
    return new KafkaRetry(attempts, []);
  }

  private constructor(
    /** The number of retries. */
    public readonly attempts: number,
    /** The delay before each retry; empty if it is tried in place. */
    public readonly delays: Duration[],
  ) {
  }
}
