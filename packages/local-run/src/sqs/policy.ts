/** Whether a queue's policy lets a service send to it: the part of IAM that decides over deliveries of EventBridge. */
export interface Caller {
  readonly service: string;
  readonly sourceArn: string;
  readonly sourceAccount: string;
  /** Its role allows it already, so only a denial counts. @default false */
  readonly byRole?: boolean;
}

interface Statement {
  readonly Effect?: string;
  readonly Principal?: unknown;
  readonly Action?: unknown;
  readonly Resource?: unknown;
  readonly Condition?: Record<string, Record<string, unknown>>;
}

/** The elements of IAM that are not understood here. A statement with one of them is passed over. */
const PASSED_OVER = ['NotPrincipal', 'NotAction', 'NotResource'];

/** The elements of statements for which these are passed over. */
export function passedOver(statements: readonly unknown[]): string[] {
  return PASSED_OVER.filter((element) => statements.some((statement) => typeof statement === 'object' && statement !== null && element in statement));
}

/** Decides like IAM: an explicit denial wins, and without a statement that allows it the answer is no. */
export function allowsSend(statements: readonly unknown[], queueArn: string, caller: Caller): boolean {
  const matching = (statements as Statement[]).filter((statement) =>
    passedOver([statement]).length === 0
    && principalMatches(statement.Principal, caller.service)
    && list(statement.Action).some((action) => like(action.toLowerCase(), 'sqs:sendmessage'))
    && (statement.Resource === undefined || list(statement.Resource).some((resource) => like(resource, queueArn)))
    && conditionsHold(statement.Condition ?? {}, caller));
  return (caller.byRole === true || matching.some(({ Effect }) => Effect === 'Allow')) && !matching.some(({ Effect }) => Effect === 'Deny');
}

function principalMatches(principal: unknown, service: string): boolean {
  if (principal === '*') return true;
  if (typeof principal !== 'object' || principal === null) return false;
  const { Service, AWS } = principal as { Service?: unknown; AWS?: unknown };
  return list(Service).includes(service) || list(AWS).includes('*');
}

function conditionsHold(conditions: Record<string, Record<string, unknown>>, caller: Caller): boolean {
  return Object.entries(conditions).every(([operator, keys]) =>
    Object.entries(keys).every(([key, wanted]) => holds(operator, key, list(wanted), caller)));
}

function holds(operator: string, key: string, wanted: string[], caller: Caller): boolean {
  const name = operator.replace(/^(ForAnyValue|ForAllValues):/, '');
  const base = name.replace(/IfExists$/, '');
  const value = known(key, caller);
  const negative = base.includes('Not');
  // A key that the request does not carry fails a condition, unless it is a negative one or ends with IfExists.
  if (value === undefined) return base === 'Null' ? wanted.includes('true') : negative || base !== name;
  switch (base) {
    case 'ArnEquals': case 'ArnLike': case 'StringLike':
      return wanted.some((pattern) => like(pattern, value));
    case 'ArnNotEquals': case 'ArnNotLike': case 'StringNotLike':
      return !wanted.some((pattern) => like(pattern, value));
    case 'StringEquals':
      return wanted.includes(value);
    case 'StringNotEquals':
      return !wanted.includes(value);
    case 'StringEqualsIgnoreCase':
      return wanted.some((text) => text.toLowerCase() === value.toLowerCase());
    case 'Bool':
      return wanted.includes(value);
    case 'Null':
      return wanted.includes('false');
    default:
      return false;
  }
}

function known(key: string, caller: Caller): string | undefined {
  switch (key.toLowerCase()) {
    case 'aws:sourcearn': return caller.sourceArn;
    case 'aws:sourceaccount': return caller.sourceAccount;
    // EventBridge calls over TLS and as a service; here it is in process.
    case 'aws:securetransport': return 'true';
    case 'aws:principalisawsservice': return 'true';
    default: return undefined;
  }
}

function list(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  return (Array.isArray(value) ? value : [value]).map(String);
}

function like(pattern: string, text: string): boolean {
  const expression = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.');
  return new RegExp(`^${expression}$`, 's').test(text);
}
