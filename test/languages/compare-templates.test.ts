import { firstDifference } from './compare-templates';

const HASH = 'a'.repeat(64);
const TEMPLATE = {
  Resources: {
    Queue: { Type: 'AWS::SQS::Queue', Properties: { DelaySeconds: 5, Tags: [{ Key: 'a', Value: 'b' }] }, DependsOn: ['Key'] },
    Key: { Type: 'AWS::KMS::Key' },
    Function: { Type: 'AWS::Lambda::Function', Properties: { Code: { S3Key: `${HASH}.zip` } } },
  },
  Outputs: { Url: { Value: 'http://a' } },
};
type Mutable = typeof TEMPLATE & { [section: string]: any };

function changed(change: (template: Mutable) => void): string | undefined {
  const template = structuredClone(TEMPLATE) as Mutable;
  change(template);
  return firstDifference(TEMPLATE, template);
}

test('equal templates have no difference, in whatever order their parts are', () => {
  expect(firstDifference(TEMPLATE, structuredClone(TEMPLATE))).toBeUndefined();
  const reversed = Object.fromEntries(Object.entries(TEMPLATE.Resources).reverse());
  expect(firstDifference(TEMPLATE, { Outputs: TEMPLATE.Outputs, Resources: reversed })).toBeUndefined();
});

describe('JSON that is text', () => {
  const text = (...parts: unknown[]) => ({ Resources: { Manifest: { Properties: { Text: { 'Fn::Join': ['', parts] } } } } });
  const TEXT = text('[{"a":1,"b":"', { Ref: 'Queue' }, '"}]');

  test('is compared as what it says', () => {
    expect(firstDifference(TEXT, text('[{"b":"', { Ref: 'Queue' }, '","a":1}]'))).toBeUndefined();
    expect(firstDifference(TEXT, text('[{"a":2,"b":"', { Ref: 'Queue' }, '"}]'))).toBe('Resources.Manifest.Properties.Text[0].a is 2 instead of 1');
    expect(firstDifference(TEXT, text('[{"a":1,"b":"', { Ref: 'Key' }, '"}]')))
      .toBe('Resources.Manifest.Properties.Text[0].b is "${Key}" instead of "${Queue}"');
  });

  test('is compared as it is where it cannot be read', () => {
    expect(firstDifference(text('[{"a":', { Ref: 'Port' }, '}]'), text('[{"a":', { Ref: 'Other' }, '}]')))
      .toBe('Resources.Manifest.Properties.Text.Fn::Join[1][1].Ref is "Other" instead of "Port"');
  });
});

test('the hash of an asset is no difference, another name of it is one', () => {
  expect(changed(template => { template.Resources.Function.Properties.Code.S3Key = `${'b'.repeat(64)}.zip`; })).toBeUndefined();
  expect(changed(template => { template.Resources.Function.Properties.Code.S3Key = `${HASH}.tar`; })).toMatch(/^Resources.Function.Properties.Code.S3Key is /);
});

test.each<[string, (template: Mutable) => void]>([
  ['Resources.Key is missing (AWS::KMS::Key)', template => { delete (template as any).Resources.Key; }],
  ['Resources.Key2 is too much (AWS::KMS::Key)', template => { (template as any).Resources.Key2 = { Type: 'AWS::KMS::Key' }; }],
  ['Resources.Key.Type is "AWS::KMS::Alias" instead of "AWS::KMS::Key"', template => { template.Resources.Key.Type = 'AWS::KMS::Alias'; }],
  ['Resources.Queue.Properties.DelaySeconds is "5" instead of 5', template => { (template as any).Resources.Queue.Properties.DelaySeconds = '5'; }],
  ['Resources.Queue.Properties.DelaySeconds is undefined instead of 5', template => { delete (template as any).Resources.Queue.Properties.DelaySeconds; }],
  ['Resources.Queue.Properties.Tags[0].Value is "c" instead of "b"', template => { template.Resources.Queue.Properties.Tags[0].Value = 'c'; }],
  ['Resources.Queue.DependsOn has 0 elements instead of 1', template => { template.Resources.Queue.DependsOn = []; }],
  ['Outputs.Url.Value is "http://b" instead of "http://a"', template => { template.Outputs.Url.Value = 'http://b'; }],
  ['Outputs is undefined instead of {"Url":{"Value":"http://a"}}', template => { delete (template as any).Outputs; }],
])('%s', (difference, change) => {
  expect(changed(change)).toBe(difference);
});
