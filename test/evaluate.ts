const PSEUDO: { [name: string]: string } = {
  'AWS::Partition': 'aws',
  'AWS::Region': 'eu-west-1',
  'AWS::AccountId': '111122223333',
  'AWS::StackId': 'arn:aws:cloudformation:eu-west-1:111122223333:stack/Test/51af3dc0-da77-11e4-872e-1234567db123',
};

/** What CloudFormation makes of a template's value; what only the deployment knows stands as `${LogicalId}` or `${LogicalId.Attribute}`. */
export function evaluate(value: unknown): unknown {
  if (Array.isArray(value)) { return value.map(evaluate); }
  if (typeof value !== 'object' || value === null) { return value; }
  const [[name, argument], ...more] = Object.entries(value);
  if (more.length > 0 || !/^(Ref|Fn::)/.test(name)) {
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, evaluate(field)]));
  }
  const resolved = evaluate(argument) as any;
  switch (name) {
    case 'Ref': return PSEUDO[resolved] ?? `\${${resolved}}`;
    case 'Fn::GetAtt': return `\${${resolved.join('.')}}`;
    case 'Fn::Join': return resolved[1].join(resolved[0]);
    case 'Fn::Select': return resolved[1][resolved[0]];
    case 'Fn::Split': return resolved[1].split(resolved[0]);
    case 'Fn::ImportValue': return `\${${resolved}}`;
    default: throw new Error(`${name} is not known here`);
  }
}
