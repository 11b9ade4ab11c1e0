// Templates as CloudFormation reads them: the values of intrinsic functions, and the order of resources.
import { createHash } from 'node:crypto';

const ACCOUNT = '111122223333';
const REGION = 'eu-west-1';
const PSEUDO = {
  'AWS::Partition': 'aws', 'AWS::Region': REGION, 'AWS::AccountId': ACCOUNT, 'AWS::URLSuffix': 'amazonaws.com', 'AWS::NoValue': undefined,
  'AWS::StackName': 'Check', 'AWS::StackId': `arn:aws:cloudformation:${REGION}:${ACCOUNT}:stack/Check/51af3dc0-da77-11e4-872e-1234567db123`,
};

const hex = (text, length) => createHash('sha256').update(text).digest('hex').slice(0, length);

/** The values that AWS would give to `Ref`, in the form that the real ones have. */
const REFERENCES = {
  'AWS::SQS::Queue': (id) => `https://sqs.${REGION}.amazonaws.com/${ACCOUNT}/${id}`,
  'AWS::EC2::SecurityGroup': (id) => `sg-${hex(id, 17)}`,
  'AWS::EC2::VPC': (id) => `vpc-${hex(id, 17)}`,
  'AWS::EC2::Subnet': (id) => `subnet-${hex(id, 17)}`,
  'AWS::SecretsManager::Secret': (id) => `arn:aws:secretsmanager:${REGION}:${ACCOUNT}:secret:${id}-AbCdEf`,
  'AWS::SecretsManager::SecretTargetAttachment': (id) => `arn:aws:secretsmanager:${REGION}:${ACCOUNT}:secret:${id}-AbCdEf`,
  'AWS::SNS::Topic': (id) => `arn:aws:sns:${REGION}:${ACCOUNT}:${id}`,
};

/** The same for `Fn::GetAtt`, by the name of the attribute. */
const ATTRIBUTES = {
  GroupId: (id) => `sg-${hex(id, 17)}`,
  DefaultSecurityGroup: (id) => `sg-${hex(id, 17)}`,
  ClusterSecurityGroupId: (id) => `sg-${hex(id, 17)}`,
  QueueUrl: (id) => REFERENCES['AWS::SQS::Queue'](id),
  'Endpoint.Port': () => '5432',
  'ReadEndpoint.Port': () => '5432',
  'Endpoint.Address': (id) => `${id.toLowerCase()}.cluster-abcdefghijkl.${REGION}.rds.amazonaws.com`,
  'ReadEndpoint.Address': (id) => `${id.toLowerCase()}.cluster-ro-abcdefghijkl.${REGION}.rds.amazonaws.com`,
  Arn: (id, type) => `arn:aws:${type.split('::')[1]?.toLowerCase() ?? 'x'}:${REGION}:${ACCOUNT}:${id}`,
};

/** Returns a function that computes the value of anything in a template. `data` has the answers of custom resources. */
export function evaluator(template, { values = {}, data = {} } = {}) {
  const resources = template.Resources ?? {};
  const parameters = Object.fromEntries(Object.entries(template.Parameters ?? {}).map(([name, { Default }]) => [name, Default ?? `parameter-${name.toLowerCase()}`]));
  const ref = (name) => {
    if (name in values) { return values[name]; }
    if (name in PSEUDO) { return PSEUDO[name]; }
    if (name in parameters) { return parameters[name]; }
    if (!(name in resources)) { throw new Error(`the template refers to ${name}, which it does not have`); }
    return (REFERENCES[resources[name].Type] ?? ((id) => id.toLowerCase()))(name);
  };
  const attribute = ([name, field]) => {
    if (`${name}.${field}` in values) { return values[`${name}.${field}`]; }
    if (data[name]?.[field] !== undefined) { return data[name][field]; }
    return (ATTRIBUTES[field] ?? ((id) => `${id.toLowerCase()}-${field.toLowerCase()}`))(name, resources[name]?.Type ?? '');
  };
  const substituted = (argument) => {
    const [text, own = {}] = Array.isArray(argument) ? [argument[0], value(argument[1])] : [argument];
    return text.replace(/\$\{([^}]+)\}/g, (_, name) => (name in own ? own[name] : name.includes('.') ? attribute(name.split(/\.(.*)/)) : ref(name)));
  };
  const functions = {
    'Ref': ref,
    'Fn::GetAtt': (argument) => attribute(Array.isArray(argument) ? argument : argument.split(/\.(.*)/)),
    'Fn::Join': (argument) => value(argument[1]).join(argument[0]),
    'Fn::Select': (argument) => value(argument[1])[Number(value(argument[0]))],
    'Fn::Split': (argument) => value(argument[1]).split(argument[0]),
    'Fn::Sub': substituted,
    'Fn::ImportValue': (argument) => `imported-${hex(JSON.stringify(argument), 8)}`,
    'Fn::GetAZs': () => ['a', 'b', 'c'].map((zone) => REGION + zone),
    'Fn::If': (argument) => value(argument[1]),
    'Fn::GetStackOutput': (argument) => `output-${hex(JSON.stringify(argument), 8)}`,
  };
  function value(of) {
    if (Array.isArray(of)) { return of.map(value); }
    if (typeof of !== 'object' || of === null) { return of; }
    const entries = Object.entries(of);
    const [[name, argument] = []] = entries;
    if (entries.length === 1 && /^(Ref$|Fn::)/.test(name)) {
      if (!(name in functions)) { throw new Error(`${name} is not known here`); }
      return functions[name](argument);
    }
    return Object.fromEntries(entries.map(([key, field]) => [key, value(field)]));
  }
  return value;
}

/** The ids of all resources, each after those that it refers to or depends on. Where several may be next, `backwards` takes the last. */
export function inOrder(template, { backwards = false } = {}) {
  const ids = Object.keys(template.Resources ?? {});
  const waitsFor = new Map(ids.map((id) => [id, referencesOf(template.Resources[id]).filter((other) => other !== id && other in template.Resources)]));
  const ordered = [];
  const left = new Set(backwards ? ids.toReversed() : ids);
  while (left.size > 0) {
    const next = [...left].find((id) => waitsFor.get(id).every((other) => !left.has(other)));
    if (next === undefined) { throw new Error(`the template has a cycle among ${[...left].join(', ')}`); }
    left.delete(next);
    ordered.push(next);
  }
  return ordered;
}

function referencesOf(value) {
  if (Array.isArray(value)) { return value.flatMap(referencesOf); }
  if (typeof value !== 'object' || value === null) { return []; }
  return Object.entries(value).flatMap(([key, field]) => {
    if (key === 'Ref') { return [field]; }
    if (key === 'DependsOn') { return [field].flat(); }
    if (key === 'Fn::GetAtt') { return [Array.isArray(field) ? field[0] : field.split('.')[0]]; }
    const inText = key === 'Fn::Sub' ? [...JSON.stringify(field).matchAll(/\$\{([^}.]+)/g)].map(([, name]) => name) : [];
    return [...inText, ...referencesOf(field)];
  });
}
