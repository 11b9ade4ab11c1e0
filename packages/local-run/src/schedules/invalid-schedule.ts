/** A schedule that AWS does not take, or that cannot be followed here. The message begins with the part that is wrong. */
export class InvalidSchedule extends Error {
  override readonly name = 'InvalidSchedule';
}
