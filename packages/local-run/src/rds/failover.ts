/** A failover that has taken place. It is apart from the code, since its users need no types of a client library. */
export interface Failover {
  /** The time at which the former primary was killed. */
  readonly killedAt: Date;
  /** The time at which its successor could be written to. */
  readonly promotedAt: Date;
  /**
   * The position in the log, such as `0/3A51B28`, up to which the replica had received it. Transactions behind it are lost, as the disk of
   * the former primary is gone with it.
   */
  readonly position: string;
  /** Resolves when a new replica streams at the address of the reader. */
  readonly replica: Promise<void>;
}
