/** An error as an AWS API answers it: `name` is its code. */
export class AwsError extends Error {
  /** The HTTP status. */
  readonly status: number;

  constructor(name: string, message: string, status = 400) {
    super(message);
    this.name = name;
    this.status = status;
  }
}
