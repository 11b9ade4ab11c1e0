import type { Duration } from 'aws-cdk-lib';

/**
 * The retention of the events of a bus, for replay.
 */
export class EventArchive {
  /**
   * Keeps every event for a time.
   *
   * @param duration whole days, at least one; EventBridge may take a day longer to delete an event
   */
  public static retain(duration: Duration): EventArchive {
    return new EventArchive(true, duration);
  }

  /**
   * Keeps every event until the archive is deleted. Storage is charged per GB and month.
   *
   * @see https://aws.amazon.com/eventbridge/pricing/
   */
  public static indefinite(): EventArchive {
    return new EventArchive(true);
  }

  /**
   * Makes no archive, for example for a bus that already has one.
   */
  public static none(): EventArchive {
    return new EventArchive(false);
  }

  private constructor(
    /** True if an archive is made. */
    public readonly enabled: boolean,
    /**
     * The retention period of the events.
     *
     * @default - events are kept until the archive is deleted
     */
    public readonly retention?: Duration) {
  }
}
