import { Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { KubernetesAccess, KubernetesJob, KubernetesJobProps, WorkloadImage } from '../../src/workload';
import { testKubernetes } from '../cluster';
import { manifestOf, manifestsOf } from '../kubernetes-manifests';
import { expectLogicalIds } from '../logical-ids';
import { unacknowledgedFindings } from '../nag';

const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');

function jobOf(props: Partial<KubernetesJobProps> = {}) {
  const stack = new Stack();
  const job = new KubernetesJob(stack, 'Migration', { kubernetes: testKubernetes(stack), image, serviceName: 'migration', ...props });
  return { stack, job, template: () => Template.fromStack(stack) };
}

test('runs once, with retries and a deadline', () => {
  const manifest = manifestOf(jobOf({ command: ['node', 'migrate.js'], timeout: Duration.minutes(5), backoffLimit: 2 }).template(), 'Job');
  expect(manifest.spec).toMatchObject({
    backoffLimit: 2,
    activeDeadlineSeconds: 300,
    template: { spec: { restartPolicy: 'Never', serviceAccountName: 'migration', containers: [{ command: ['node', 'migrate.js'] }] } },
  });
});

test('has an account and a network policy of its own, and needs no port', () => {
  const template = jobOf({ egressPorts: [5433] }).template();
  expect(manifestsOf(template).map(m => m.kind)).toEqual(['ServiceAccount', 'NetworkPolicy', 'Job']);
  expect(manifestOf(template, 'NetworkPolicy').spec).toMatchObject({ policyTypes: ['Ingress', 'Egress'] });
  expect(manifestOf(template, 'NetworkPolicy').spec).not.toHaveProperty('ingress');
  expect(manifestOf(template, 'Job').spec.template.spec.containers[0].env.map((e: { name: string }) => e.name)).toEqual(['SERVICE_NAME', 'AWS_REGION']);
});

test('is another job when its image, command or environment changes, and else the same', () => {
  const nameOf = (props: Partial<KubernetesJobProps> = {}) => manifestOf(jobOf(props).template(), 'Job').metadata.name;
  const names = [
    nameOf(),
    nameOf({ image: WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.1') }),
    nameOf({ command: ['other'] }),
    nameOf({ environment: { A: 'b' } }),
  ];
  expect(new Set(names).size).toBe(names.length);
  expect(nameOf()).toBe(names[0]);
  expect(names[0]).toMatch(/^migration-[0-9a-f]{10}$/);
});

test('leaves room for the hash in its name', () => {
  expect(() => jobOf({ serviceName: 'a'.repeat(53) })).toThrow('serviceName must be 2 to 52 lower-case letters');
  expect(manifestOf(jobOf({ serviceName: 'a'.repeat(52) }).template(), 'Job').metadata.name).toHaveLength(63);
});

test('starts after its permissions', () => {
  const { stack, job, template } = jobOf();
  new secretsmanager.Secret(stack, 'Secret').grantRead(job);
  template().hasResource('Custom::AWSCDK-EKS-KubernetesResource', { DependsOn: Match.arrayWith([Match.stringLikeRegexp('^MigrationRoleDefaultPolicy')]) });
});

test('has no findings of AwsSolutions', () => {
  expect(unacknowledgedFindings(jobOf().stack)).toEqual([]);
});

test('has no address, and may have a port', () => {
  const { job, template } = jobOf({ environment: { PORT: '8080' } });
  expect(job.url).toBeUndefined();
  expect(manifestOf(template(), 'Job').spec.template.spec.containers[0].env).toContainEqual({ name: 'PORT', value: '8080' });
});

test('has the permissions of a target role and a security group of its own', () => {
  const { stack, job, template } = jobOf();
  const targetRole = iam.Role.fromRoleArn(stack, 'Target', 'arn:aws:iam::222222222222:role/target');
  const podSecurityGroup = ec2.SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods');
  const other = new KubernetesJob(stack, 'Other', {
    kubernetes: KubernetesAccess.manifestsOnly({ clusterName: 'c' }), image, serviceName: 'other', targetRole, podSecurityGroup,
  });
  expect(other.grantPrincipal).toBe(targetRole.grantPrincipal);
  expect(other.connections.securityGroups).toEqual([podSecurityGroup]);
  expect(job.grantPrincipal).toBe(job.role.grantPrincipal);
  template().hasResourceProperties('AWS::EKS::PodIdentityAssociation', { TargetRoleArn: 'arn:aws:iam::222222222222:role/target' });
});

test('keeps its logical ids', () => {
  expectLogicalIds(jobOf().stack, `${__dirname}/kubernetes-job.ids.json`);
});
