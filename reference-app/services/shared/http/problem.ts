import Type from 'typebox';

/**
 * The catalogue of problems that the HTTP APIs answer (RFC 9457). A `type` is a promise to clients: add new ones, never
 * rename. Details name the error and how to put it right; they never carry a stack trace or a database message.
 */

export interface FieldError {
  /** `items[0].quantity` in the body, a query parameter, a path parameter or a header. */
  readonly field: string;
  /** The error, and a value that is right. */
  readonly message: string;
}

interface Entry {
  readonly status: number;
  readonly title: string;
}

export const PROBLEMS = {
  'malformed-request': { status: 400, title: 'The request is not well-formed' },
  'malformed-json': { status: 400, title: 'The body is not valid JSON' },
  'validation': { status: 400, title: 'The request does not pass validation' },
  'unknown-sku': { status: 400, title: 'An item names a SKU that is not in the catalogue' },
  'unauthenticated': { status: 401, title: 'The request does not prove who sends it' },
  'insufficient-scope': { status: 403, title: 'The token does not allow this' },
  'route-not-found': { status: 404, title: 'There is nothing at this address' },
  'order-not-found': { status: 404, title: 'There is no such order' },
  'customer-not-found': { status: 404, title: 'There is no such customer' },
  'sku-not-found': { status: 404, title: 'There is no such SKU' },
  'method-not-allowed': { status: 405, title: 'This address does not take this method' },
  'request-timeout': { status: 408, title: 'The request did not arrive in time' },
  'illegal-transition': { status: 409, title: 'The order cannot be changed like this now' },
  'precondition-failed': { status: 412, title: 'The order has changed since' },
  'payload-too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The body is not of a supported media type' },
  'idempotency-mismatch': { status: 422, title: 'The idempotency key was used with another request' },
  'precondition-required': { status: 428, title: 'The request must say which version of the order it is about' },
  'too-many-requests': { status: 429, title: 'There are too many requests' },
  'headers-too-large': { status: 431, title: 'The request headers are too large' },
  'internal': { status: 500, title: 'The service failed to answer' },
  'unavailable': { status: 503, title: 'The service cannot answer at the moment' },
} as const satisfies Record<string, Entry>;

export type ProblemName = keyof typeof PROBLEMS;

export function problemType(name: ProblemName): string {
  return `urn:cdk-order-pipeline:problem:${name}`;
}

export const PROBLEM_MEDIA_TYPE = 'application/problem+json; charset=utf-8';

/** The body as clients see it; a problem may carry more fields of its own. */
export const ProblemDetails = Type.Object({
  type: Type.Enum(Object.keys(PROBLEMS).map((name) => problemType(name as ProblemName)), { description: 'the kind of problem; never changes' }),
  title: Type.String({ description: 'the kind in words' }),
  status: Type.Integer({ minimum: 400, maximum: 599, description: 'the HTTP status' }),
  detail: Type.String({ description: 'the error, and how to put it right' }),
  instance: Type.Optional(Type.String({ description: 'the path of the request' })),
  errors: Type.Optional(Type.Array(Type.Object({
    field: Type.String({ description: 'where: `items[0].quantity` in the body, a parameter or a header' }),
    message: Type.String({ description: 'the error, and a value that is right' }),
  }, { title: 'FieldError' }))),
  traceId: Type.Optional(Type.String({ pattern: '^[0-9a-f]{32}$', description: 'finds the request in the logs' })),
  orderStatus: Type.Optional(Type.String({ description: 'of illegal-transition: what the order is' })),
  allowed: Type.Optional(Type.Array(Type.String(), { description: 'of illegal-transition: what can be asked of the order now' })),
}, { title: 'Problem', description: 'RFC 9457 problem details' });

export interface ProblemBody {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance?: string;
  readonly errors?: readonly FieldError[];
  readonly traceId?: string;
  /** The status of the order of an illegal-transition, beside the commands that it takes. */
  readonly orderStatus?: string;
  readonly allowed?: readonly string[];
}

export interface ProblemOptions {
  readonly errors?: readonly FieldError[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
  /** Members that the type of problem has beside the common ones. */
  readonly members?: Pick<ProblemBody, 'orderStatus' | 'allowed'>;
}

/** Thrown by handlers, turned into the answer by the error handler of the application. */
export class Problem extends Error {
  readonly problem: ProblemName;
  readonly errors: readonly FieldError[] | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly members: ProblemOptions['members'];

  constructor(problem: ProblemName, detail: string, options: ProblemOptions = {}) {
    super(detail, { cause: options.cause });
    this.name = 'Problem';
    this.problem = problem;
    this.errors = options.errors;
    this.headers = options.headers ?? {};
    this.members = options.members;
  }

  get status(): number {
    return PROBLEMS[this.problem].status;
  }

  /** The same about a part of the request: fields are inside of `path`. */
  inside(path: string): Problem {
    const errors = this.errors?.map(({ field, message }) => ({ field: field === 'body' ? path : `${path}.${field}`, message }));
    const detail = errors ? errors.map((e) => `${e.field} ${e.message}`).join('; ') : this.message;
    return new Problem(this.problem, detail, { ...(errors && { errors }), headers: this.headers, cause: this.cause });
  }

  toBody(context: { instance?: string; traceId?: string } = {}): ProblemBody {
    return {
      type: problemType(this.problem),
      title: PROBLEMS[this.problem].title,
      status: this.status,
      detail: this.message,
      ...this.members,
      ...context,
      ...(this.errors ? { errors: this.errors } : {}),
    };
  }
}

/** One wrong input; the detail repeats the field so that a client that shows only `detail` still names it. */
export function invalid(field: string, message: string): Problem {
  return invalidFields([{ field, message }]);
}

export function invalidFields(errors: readonly FieldError[]): Problem {
  return new Problem('validation', errors.map((e) => `${e.field} ${e.message}`).join('; '), { errors });
}

/** The database (or another thing behind us) is away; the client does best to come back. */
export function unavailable(detail: string, cause?: unknown, retryAfterSeconds = 1): Problem {
  return new Problem('unavailable', detail, { headers: { 'retry-after': String(retryAfterSeconds) }, cause });
}
