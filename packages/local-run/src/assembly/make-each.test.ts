import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { atEnd, temporaryFolder } from '../../test/temporary.ts';
import { LocalRunError } from '../errors.ts';
import { startLocal } from '../run.ts';
import { UnresolvedError } from './intrinsics.ts';

const UNKNOWN = { 'Fn::GetAtt': ['Seed', 'Value'] };

test('a resource that needs a value which only AWS knows is left out, what needs the resource too, and the others run', async (context) => {
  const folder = temporaryFolder(context);
  const stack = { type: 'aws:cloudformation:stack', environment: 'aws://unknown-account/unknown-region', properties: { templateFile: 'Shop.json' } };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ version: '48.0.0', artifacts: { Shop: stack } }));
  const rule = (Properties: object) => ({ Type: 'AWS::Events::Rule', Properties: { EventPattern: { source: ['shop'] }, ...Properties } });
  writeFileSync(join(folder, 'Shop.json'), JSON.stringify({
    Parameters: { NoDefault: { Type: 'String' } },
    Resources: {
      Seed: { Type: 'Custom::Seed' },
      Unnamed: { Type: 'AWS::SQS::Queue', Properties: { QueueName: UNKNOWN } },
      Reader: { Type: 'AWS::SSM::Parameter', Properties: { Name: 'queue', Type: 'String', Value: { Ref: 'Unnamed' } } },
      Parameter: { Type: 'AWS::SQS::Queue', Properties: { VisibilityTimeout: { Ref: 'NoDefault' } } },
      Bus: { Type: 'AWS::Events::EventBus', Properties: { Name: UNKNOWN } },
      OnBus: rule({ EventBusName: { Ref: 'Bus' } }),
      Pattern: rule({ EventPattern: { source: [UNKNOWN] } }),
      Archive: { Type: 'AWS::Events::Archive', Properties: { SourceArn: UNKNOWN } },
      Secret: { Type: 'AWS::SecretsManager::Secret', Properties: { SecretString: UNKNOWN } },
      // Nobody needs the key here, so this queue is made.
      Queue: { Type: 'AWS::SQS::Queue', Properties: { KmsMasterKeyId: UNKNOWN } },
      Rule: rule({ Targets: [{ Id: 'queue', Arn: { 'Fn::GetAtt': ['Queue', 'Arn'] } }] }),
    },
  }));
  const run = await startLocal({ assemblyDir: folder, dataDir: join(folder, 'data') });
  atEnd(context, () => run.stop());
  assert.deepEqual(run.queues.map(({ name }) => name.slice(0, 11)), ['Shop-Queue-']);
  assert.deepEqual(run.rules.map(({ targetArns }) => targetArns), [[run.queues[0]?.arn]]);
  const reason = 'the local run does not know Value of Shop.Seed (Custom::Seed).';
  assert.deepEqual(run.warnings.filter((sentence) => sentence.includes('is left out: ')).sort(), [
    `Shop.Archive (AWS::Events::Archive) is left out: Shop.Archive.SourceArn: ${reason}`,
    `Shop.Bus (AWS::Events::EventBus) is left out: Shop.Bus.Name: ${reason}`,
    `Shop.OnBus (AWS::Events::Rule) is left out: Shop.Bus.Name: ${reason}`,
    'Shop.Parameter (AWS::SQS::Queue) is left out: Shop.Parameter.VisibilityTimeout: the parameter NoDefault of stack Shop has no value: '
    + 'give one with --parameter NoDefault=VALUE.',
    `Shop.Pattern (AWS::Events::Rule) is left out: Shop.Pattern.EventPattern.source[0]: ${reason}`,
    `Shop.Secret (AWS::SecretsManager::Secret) is left out: Shop.Secret.SecretString: ${reason}`,
    `Shop.Unnamed (AWS::SQS::Queue) is left out: Shop.Unnamed.QueueName: ${reason}`,
  ]);
});

test('wherever else such a value is needed, the error is one sentence for the user', () => {
  assert.ok(new UnresolvedError('x') instanceof LocalRunError);
});
