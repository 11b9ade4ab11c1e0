import { Stack, Validations } from 'aws-cdk-lib';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R5Checks, ServerlessChecks } from 'cdk-nag';
import type { IConstruct } from 'constructs';
import { acceptedFindings, AcceptedFinding } from './accepted-findings';
import { allConstructs } from './all-constructs';

/** What the packs find in what the library makes; acknowledgements don't count, as they carry the prefix that `validateScope` ignores. */
function findingsOf(stack: Stack): string[] {
  const packs = [new AwsSolutionsChecks(), new ServerlessChecks(), new NIST80053R5Checks(), new HIPAASecurityChecks()];
  return packs.flatMap((pack) => pack.validateScope(stack).violations).flatMap(({ ruleName, violatingResources }) => violatingResources
    .map(({ constructPath }) => constructPath!.replace(`${stack.node.path}/`, '').replace(/\/Resource$/, ''))
    // Made by the test, and by aws-cdk-lib once for all deployments of files.
    .filter((path) => !/^(Brought|TestKubectl\w*|TestCluster|TestVpc|Custom::CDKBucketDeployment\w*)(\/|$)/.test(path))
    .map((path) => `${ruleName} at ${path}`)).sort();
}

function listed(accepted: AcceptedFinding[]): string[] {
  return accepted.flatMap(({ rules, at }) => rules.flatMap((rule) => at.map((path) => `${rule} at ${path}`))).sort();
}

function acknowledgements(stack: Stack, path: string): { [rule: string]: string } {
  const construct = path.split('/').reduce<IConstruct>((parent, id) => parent.node.findChild(id), stack);
  return Object.assign({}, ...construct.node.metadata
    .filter(({ type }) => type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY).map(({ data }) => data));
}

let stack: Stack;
beforeEach(() => {
  stack = allConstructs();
});

test('the packs find what is accepted with a reason, and nothing else', () => {
  const [found, accepted] = [findingsOf(stack), listed(acceptedFindings)];
  // Mend what is new; take off the list what isn't found any more.
  expect({
    new: found.filter((finding) => !accepted.includes(finding)),
    notFoundAnyMore: accepted.filter((finding) => !found.includes(finding)),
  }).toEqual({ new: [], notFoundAnyMore: [] });
});

test('each finding is listed once, with a reason', () => {
  expect(listed(acceptedFindings)).toEqual([...new Set(listed(acceptedFindings))]);
  expect(acceptedFindings.filter(({ reason }) => !/^[A-Z].{20,}\.$/.test(reason))).toEqual([]);
});

test('what AwsSolutions finds is acknowledged by the library, with the same reason', () => {
  const wanted = acceptedFindings.flatMap(({ rules, reason, at }) => rules.filter((rule) => rule.startsWith('AwsSolutions-'))
    .flatMap((rule) => at.map((path) => ({ rule, path, reason }))));
  expect(wanted).not.toEqual([]);
  expect(wanted.map(({ rule, path }) => ({ rule, path, reason: acknowledgements(stack, path)[`AwsSolutions::${rule}`] }))).toEqual(wanted);
});

test('each pack looks', () => {
  const before = findingsOf(stack);
  new sqs.CfnQueue(stack, 'Queue');
  new sns.CfnTopic(stack, 'Topic');
  expect(findingsOf(stack).filter((finding) => !before.includes(finding))).toEqual([
    'AwsSolutions-SNS3 at Topic',
    'AwsSolutions-SQS3 at Queue',
    'AwsSolutions-SQS4 at Queue',
    'HIPAA.Security-SNSEncryptedKMS at Topic',
    'NIST.800.53.R5-SNSEncryptedKMS at Topic',
    'Serverless-SQSRedrivePolicy at Queue',
  ]);
});
