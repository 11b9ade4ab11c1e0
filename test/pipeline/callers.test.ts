import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Construct } from 'constructs';
import { ApiAuthorizer, EventDrivenOrderPipeline, EventDrivenOrderPipelineProps, IServiceHost, ServiceBindOptions, ServiceKind } from '../../src';
import { roleOf } from '../consumer/targets';
import { existingDatabase } from '../database';

let stack: Stack;
let bound: ServiceBindOptions[];
beforeEach(() => {
  stack = new Stack(new App(), 'Shop');
  bound = [];
});

function host(): IServiceHost {
  return {
    bindService(scope, id, options) {
      bound.push(options);
      const service = new Construct(scope, id);
      return Object.assign(service, { grantPrincipal: roleOf(service), connections: new ec2.Connections() });
    },
  };
}

function pipelineOf(props: EventDrivenOrderPipelineProps): EventDrivenOrderPipeline {
  return new EventDrivenOrderPipeline(stack, 'Pipeline', { database: existingDatabase(stack, { adminSecret: true }), ...props });
}

const certificate = () => acm.Certificate.fromCertificateArn(stack, 'Certificate', 'arn:aws:acm:eu-west-1:111122223333:certificate/1');
const warnings = () => (
  Annotations.fromStack(stack).findWarning('/Shop/Pipeline', Match.anyValue()).map(({ entry }) => String(entry.data)));

test('both APIs get the authorizer and the certificate, and nobody else does', () => {
  const given = { authorizer: ApiAuthorizer.jwt('https://login.example.com', ['orders']), certificate: certificate() };
  pipelineOf({ ...given, migration: host(), commandApi: host(), queryApi: host(), outboxRelay: host() }).addService('Timers', host());
  const passed = bound.map(({ kind, authorizer, certificate: tls }) => [kind, authorizer === given.authorizer, tls === given.certificate]);
  expect(passed).toEqual([
    [ServiceKind.MIGRATION, false, false], [ServiceKind.API, true, true], [ServiceKind.API, true, true], [ServiceKind.RELAY, false, false],
    [ServiceKind.SERVICE, false, false],
  ]);
  expect(warnings()).toEqual([]);
});

test.each<[string, EventDrivenOrderPipelineProps, string[]]>([
  ['without an authorizer', {}, ['cdk-order-pipeline:apiWithoutAuthorizer']],
  ['that is public', { authorizer: ApiAuthorizer.publicAccess() }, ['cdk-order-pipeline:apiIsPublic']],
  ['with tokens', { authorizer: ApiAuthorizer.jwt('https://login.example.com', ['orders']) }, []],
  ['with signatures of AWS', { authorizer: ApiAuthorizer.iam() }, []],
])('an API %s is warned about once', (_, props, ids) => {
  pipelineOf({ ...props, commandApi: host(), queryApi: host() });
  expect(warnings().map((text) => /\[ack: (.*)\]/.exec(text)?.[1])).toEqual(ids);
});

test.each([['commandApi'], ['queryApi']])('a pipeline with %s alone is warned about, too', (name) => {
  pipelineOf({ [name]: host() });
  expect(warnings()).toEqual([expect.stringMatching(/ApiAuthorizer\.jwt\(\).*ApiAuthorizer\.publicAccess\(\)/)]);
});

test('without an API nobody is asked, and both are errors', () => {
  pipelineOf({ outboxRelay: host() });
  expect(warnings()).toEqual([]);
  expect(() => new EventDrivenOrderPipeline(stack, 'One', { authorizer: ApiAuthorizer.publicAccess() }))
    .toThrow("authorizer needs commandApi or queryApi: give that too, or leave authorizer out (in 'Shop/One')");
  expect(() => new EventDrivenOrderPipeline(stack, 'Other', { certificate: certificate() }))
    .toThrow("certificate needs commandApi or queryApi: give that too, or leave certificate out (in 'Shop/Other')");
});
