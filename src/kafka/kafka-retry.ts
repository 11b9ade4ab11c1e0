import type { Duration } from 'aws-cdk-lib';

/**
 * How an event that failed is tried again on Kafka.
 */
export class KafkaRetry {
  /**
   * On retry topics, one for each delay, and then on a dead-letter topic. Other events go on meanwhile, so the order of the events with the
   * same key is not kept: the handler has to look at their versions.
   *
   * @param delays how long an event waits before each further try
   */
  public static topics(...delays: Duration[]): KafkaRetry {
    return new KafkaRetry(delays.length, delays);
  }

  /**
   * At once and in place, so that the events of a partition keep their order and wait meanwhile.
   *
   * @param attempts how often an event is tried before it goes to the dead-letter topic
   */
  public static blocking(attempts: number): KafkaRetry {
    return new KafkaRetry(attempts, []);
  }

  private constructor(
    /** How often an event is tried again. */
    public readonly attempts: number,
    /** How long it waits before each try; empty if it is tried in place. */
    public readonly delays: Duration[],
  ) {
  }
}
