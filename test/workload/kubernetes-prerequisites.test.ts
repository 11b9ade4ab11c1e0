import { Annotations as CoreAnnotations, App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as eksv2 from 'aws-cdk-lib/aws-eks-v2';
import * as iam from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import {
  Autoscaling, ClusterPrerequisite, KubernetesAccess, KubernetesAccessOptions, KubernetesPrerequisites, KubernetesPrerequisitesProps,
  KubernetesWorkload, NamespaceNetworkPolicy, ServiceExposure, WorkloadImage,
} from '../../src/workload';
import { madeClassicCluster, madeCluster, testClassicCluster, testCluster } from '../cluster';
import { manifestsOf } from '../kubernetes-manifests';
import { expectLogicalIds } from '../logical-ids';
import { unacknowledgedFindings } from '../nag';

const ALL = Object.values(ClusterPrerequisite);
const image = WorkloadImage.fromRegistry('public.ecr.aws/team/orders:1.0.0');
let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Test');
});

type Props = Partial<KubernetesPrerequisitesProps>;

function autoMode(props: Props = {}, options: KubernetesAccessOptions = { namespace: 'orders' }) {
  const kubernetes = KubernetesAccess.fromEksV2(testCluster(stack), options);
  return new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes, ...props });
}

function withoutAutoMode() {
  const cluster = madeCluster(stack, { defaultCapacityType: eksv2.DefaultCapacityType.NODEGROUP });
  return { cluster, kubernetes: KubernetesAccess.fromEksV2(cluster, { namespace: 'orders' }) };
}

function dependenciesOf(template: Template, logicalId: RegExp): string[] {
  const resources: { [id: string]: { DependsOn?: string[] } } = template.toJSON().Resources;
  const found = Object.keys(resources).filter(id => logicalId.test(id));
  expect(found).toHaveLength(1);
  return (resources[found[0]].DependsOn ?? []).map(id => id.replace(/[0-9A-F]{8}$/, ''));
}

describe('in EKS Auto Mode', () => {
  test('make the metrics server, network policies, the namespace and KEDA', () => {
    const made = autoMode();
    const template = Template.fromStack(stack);

    template.resourceCountIs('AWS::EKS::Addon', 1);
    template.hasResourceProperties('AWS::EKS::Addon', { ClusterName: 'test-cluster', AddonName: 'metrics-server' });
    expect(manifestsOf(template)).toEqual([
      {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: expect.objectContaining({ name: 'amazon-vpc-cni', namespace: 'kube-system' }),
        data: { 'enable-network-policy-controller': 'true' },
      },
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: {
          name: 'orders',
          labels: expect.objectContaining({
            'pod-security.kubernetes.io/enforce': 'restricted',
            'elbv2.k8s.aws/pod-readiness-gate-inject': 'enabled',
            'eks.amazonaws.com/pod-readiness-gate-inject': 'enabled',
          }),
        },
      },
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: expect.objectContaining({ name: 'default-deny', namespace: 'orders' }),
        // Every pod, and no connection: neither rules in nor rules out.
        spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
      },
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: 'keda', labels: expect.objectContaining({ 'pod-security.kubernetes.io/enforce': 'restricted' }) },
      },
    ]);
    // The ConfigMap may be there, with other settings.
    template.hasResourceProperties('Custom::AWSCDK-EKS-KubernetesResource', { Manifest: Match.stringLikeRegexp('amazon-vpc-cni'), Overwrite: true });
    // Deleting a namespace would delete everything in it, also of others; one that is there already is taken as it is.
    for (const name of ['orders', 'keda']) {
      template.hasResource('Custom::AWSCDK-EKS-KubernetesResource', {
        Properties: { Manifest: Match.stringLikeRegexp(`"kind":"Namespace","metadata":{"name":"${name}"`), Overwrite: true },
        DeletionPolicy: 'Retain',
        UpdateReplacePolicy: 'Retain',
      });
    }
    expect(Object.keys(made).filter(name => (made as any)[name] instanceof Construct).sort()).toEqual([
      'kedaChart', 'kedaNamespace', 'kedaOperatorRole', 'kedaPodIdentity', 'metricsServer', 'namespace', 'namespacePolicy', 'networkPolicies',
    ]);
    expect(made.podIdentityAgent).toBeUndefined();
  });

  test('install KEDA with a role for its operator, before which it does not start', () => {
    autoMode({ kedaVersion: '2.20.2' });
    const template = Template.fromStack(stack);
    template.hasResource('Custom::AWSCDK-EKS-HelmChart', {
      Properties: {
        Chart: 'keda',
        Release: 'keda',
        Repository: 'https://kedacore.github.io/charts',
        Version: '2.20.2',
        Namespace: 'keda',
        CreateNamespace: Match.absent(),
        Wait: true,
        Timeout: '600s',
        Values: '{"serviceAccount":{"operator":{"name":"keda-operator"}}}',
      },
      DependsOn: [Match.stringLikeRegexp('^PrerequisitesKedaNamespace'), Match.stringLikeRegexp('^PrerequisitesKedaPodIdentity')],
    });
    template.hasResourceProperties('AWS::EKS::PodIdentityAssociation', {
      Namespace: 'keda', ServiceAccount: 'keda-operator', RoleArn: { 'Fn::GetAtt': [Match.stringLikeRegexp('KedaOperatorRole'), 'Arn'] },
    });
    template.hasResourceProperties('AWS::IAM::Role', {
      AssumeRolePolicyDocument: {
        Statement: [{
          Action: ['sts:AssumeRole', 'sts:TagSession'],
          Principal: { Service: 'pods.eks.amazonaws.com' },
          Condition: {
            StringEquals: {
              'aws:RequestTag/eks-cluster-name': 'test-cluster',
              'aws:RequestTag/kubernetes-namespace': 'keda',
              'aws:RequestTag/kubernetes-service-account': 'keda-operator',
            },
          },
        }],
      },
    });
  });

  test('pin the version of KEDA', () => {
    autoMode();
    Template.fromStack(stack).hasResourceProperties('Custom::AWSCDK-EKS-HelmChart', { Version: '2.21.0' });
  });

  test('leave the namespace default as it is', () => {
    expect(autoMode({}, {}).namespace).toBeUndefined();
    expect(manifestsOf(Template.fromStack(stack)).map(({ metadata }) => metadata.name)).toEqual(['amazon-vpc-cni', 'keda']);
  });

  test.each(ALL)('do not make what exists: %s', existing => {
    const made = autoMode({ existing: [existing] });
    const named = {
      [ClusterPrerequisite.METRICS_SERVER]: [made.metricsServer],
      [ClusterPrerequisite.NETWORK_POLICIES]: [made.networkPolicies],
      [ClusterPrerequisite.NAMESPACE]: [made.namespace],
      [ClusterPrerequisite.KEDA]: [made.kedaChart, made.kedaNamespace, made.kedaOperatorRole, made.kedaPodIdentity],
      [ClusterPrerequisite.POD_IDENTITY_AGENT]: [made.podIdentityAgent],
    };
    for (const [prerequisite, constructs] of Object.entries(named)) {
      const there = prerequisite !== existing && prerequisite !== ClusterPrerequisite.POD_IDENTITY_AGENT;
      expect(constructs.map(construct => construct !== undefined)).toEqual(constructs.map(() => there));
    }
  });

  test('tell of the role of KEDA', () => {
    const made = autoMode();
    expect(made.node.tryFindChild('KedaOperatorRole')).toBe(made.kedaOperatorRole);
    const kedaOperatorRole = iam.Role.fromRoleArn(stack, 'Own', 'arn:aws:iam::111111111111:role/keda');
    const kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'other', loadBalancerClass: 'eks.amazonaws.com/nlb' });
    expect(kubernetes.kedaOperatorRole).toBeUndefined();
    new KubernetesPrerequisites(stack, 'Other', { kubernetes, existing: [ClusterPrerequisite.KEDA], kedaOperatorRole });
    expect(kubernetes.kedaOperatorRole).toBe(kedaOperatorRole);
  });

  test('have no findings of AwsSolutions', () => {
    autoMode({ operators: [new iam.Role(stack, 'OnCall', { assumedBy: new iam.AccountRootPrincipal() })] });
    expect(unacknowledgedFindings(stack)).toEqual([]);
  });
});

describe('the network policy of the namespace', () => {
  const policies = () => manifestsOf(Template.fromStack(stack)).filter(({ kind }) => kind === 'NetworkPolicy').map(({ spec }) => spec.policyTypes);

  test('is made after the namespace, and before all that is applied', () => {
    const { namespacePolicy } = autoMode();
    const template = Template.fromStack(stack);
    expect(dependenciesOf(template, /^PrerequisitesNamespacePolicy/)).toEqual(['PrerequisitesNamespace']);
    expect(namespacePolicy!.node.id).toBe('NamespacePolicy');
    const kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'c', namespace: 'orders', loadBalancerClass: 'eks.amazonaws.com/nlb' });
    const waits: Construct[] = [];
    const applied = kubernetes.applyManifest(stack, 'Applied', []);
    applied.node.addDependency = (...all) => { waits.push(...all as Construct[]); };
    const made = new KubernetesPrerequisites(stack, 'GitOps', { kubernetes, existing: [ClusterPrerequisite.KEDA] });
    expect(waits).toContain(made.namespacePolicy);
  });

  test.each<[Props, object[]]>([
    [{ namespacePolicy: NamespaceNetworkPolicy.denyIngress() }, [['Ingress']]],
    [{ namespacePolicy: NamespaceNetworkPolicy.none() }, []],
    [{ existing: [ClusterPrerequisite.NAMESPACE] }, []],
  ])('denies less, or nothing, if that is said or the namespace is not made here: %#', (props, expected) => {
    autoMode(props);
    expect(policies()).toEqual(expected);
  });

  test.each<[Props, string | undefined]>([
    [{ existing: [ClusterPrerequisite.NAMESPACE] }, 'orders'],
    [{}, undefined],
  ])('is refused for a namespace that exists already: %#', (props, namespace) => {
    expect(() => autoMode({ namespacePolicy: NamespaceNetworkPolicy.denyAll(), ...props }, { namespace }))
      .toThrow('namespacePolicy is made with the namespace, which exists already: leave it out, and apply a policy of your own');
  });
});

describe('without EKS Auto Mode', () => {
  test('set the VPC CNI add-on and share the pod identity agent of the cluster', () => {
    const { cluster, kubernetes } = withoutAutoMode();
    const made = new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes });
    expect(made.podIdentityAgent).toBe(cluster.eksPodIdentityAgent);

    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::EKS::Addon', 3);
    template.hasResourceProperties('AWS::EKS::Addon', {
      AddonName: 'vpc-cni', ConfigurationValues: '{"enableNetworkPolicy":"true"}', ResolveConflicts: 'OVERWRITE', PreserveOnDelete: true,
    });
    template.hasResourceProperties('AWS::EKS::Addon', { AddonName: 'eks-pod-identity-agent' });
    expect(manifestsOf(template).map(({ metadata }) => metadata.name)).toEqual(['orders', 'default-deny', 'keda']);
    expect(dependenciesOf(template, /^PrerequisitesKeda[0-9A-F]{8}$/)).toContain('ClusterEksPodIdentityAgentAddon');
  });

  test('are known for a cluster of another app by the class of load balancers', () => {
    const made = autoMode({}, { loadBalancerClass: 'service.k8s.aws/nlb' });
    expect(made.podIdentityAgent).toBeDefined();
    Template.fromStack(stack).hasResourceProperties('AWS::EKS::Addon', {
      ClusterName: 'test-cluster', AddonName: 'eks-pod-identity-agent', PreserveOnDelete: true,
    });
  });

  test('work on a cluster of aws-eks', () => {
    const cluster = madeClassicCluster(stack, { authenticationMode: eks.AuthenticationMode.API_AND_CONFIG_MAP });
    const kubernetes = KubernetesAccess.fromEks(cluster, { namespace: 'orders' });
    const made = new KubernetesPrerequisites(stack, 'Prerequisites', {
      kubernetes, operators: [iam.Role.fromRoleName(stack, 'OnCall', 'on-call')],
    });
    expect(made.podIdentityAgent).toBe(cluster.eksPodIdentityAgent);
    const template = Template.fromStack(stack);
    template.hasResourceProperties('Custom::AWSCDK-EKS-HelmChart', { Chart: 'keda', Wait: true });
    template.resourceCountIs('AWS::EKS::Addon', 3);
  });
});

describe('manifests only', () => {
  const existing = [ClusterPrerequisite.KEDA];

  test('collect what would be applied', () => {
    const kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'gitops', namespace: 'orders', loadBalancerClass: 'eks.amazonaws.com/nlb' });
    new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes, existing });
    expect(kubernetes.manifests.map(({ kind }) => kind)).toEqual(['ConfigMap', 'Namespace', 'NetworkPolicy']);
    Template.fromStack(stack).resourceCountIs('AWS::EKS::Addon', 1);
  });

  test('cannot install KEDA', () => {
    const kubernetes = KubernetesAccess.manifestsOnly({ clusterName: 'gitops', loadBalancerClass: 'eks.amazonaws.com/nlb' });
    expect(() => new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes }))
      .toThrow('install it by other means, and list ClusterPrerequisite.KEDA in existing (in \'Test/Prerequisites\')');
  });

  test('need the kind of the cluster, or not what depends on it', () => {
    const kubernetes = () => KubernetesAccess.manifestsOnly({ clusterName: 'gitops' });
    expect(() => new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes: kubernetes(), existing }))
      .toThrow('how to make NETWORK_POLICIES and POD_IDENTITY_AGENT depends on whether the cluster is in EKS Auto Mode, which isn\'t known: set loadBalancerClass');
    const rest = [...existing, ClusterPrerequisite.NETWORK_POLICIES, ClusterPrerequisite.POD_IDENTITY_AGENT];
    expect(() => new KubernetesPrerequisites(stack, 'Rest', { kubernetes: kubernetes(), existing: rest })).not.toThrow();
  });
});

describe('operators', () => {
  test('may use kubectl in the namespace', () => {
    const onCall = iam.Role.fromRoleArn(stack, 'OnCall', 'arn:aws:iam::111111111111:role/on-call');
    const { accessEntries } = autoMode({ operators: [onCall] });
    expect(accessEntries).toHaveLength(1);
    Template.fromStack(stack).hasResourceProperties('AWS::EKS::AccessEntry', {
      ClusterName: 'test-cluster',
      PrincipalArn: 'arn:aws:iam::111111111111:role/on-call',
      AccessPolicies: [{
        PolicyArn: { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':eks::aws:cluster-access-policy/AmazonEKSAdminPolicy']] },
        AccessScope: { Type: 'namespace', Namespaces: ['orders'] },
      }],
    });
  });

  test('keep their ids in another order, and of other stacks', () => {
    const [one, two] = ['One', 'Two'].map(id => iam.Role.fromRoleName(stack, id, id));
    const three = iam.Role.fromRoleName(new Construct(new Stack(stack.node.root as App, 'Elsewhere'), 'Deep'), 'One', 'three');
    const { accessEntries } = autoMode({ operators: [two, three, one] });
    expect(accessEntries.map(({ node }) => node.id)).toEqual(['OperatorTwo', 'OperatorElsewhereDeepOne', 'OperatorOne']);
  });

  test.each([undefined, eks.AuthenticationMode.CONFIG_MAP])('need the EKS API to be asked: %s', authenticationMode => {
    const kubernetes = KubernetesAccess.fromEks(madeClassicCluster(stack, { authenticationMode }));
    const operators = [iam.Role.fromRoleName(stack, 'OnCall', 'on-call')];
    expect(() => new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes, operators }))
      .toThrow('set its authenticationMode to AuthenticationMode.API_AND_CONFIG_MAP or API');
    expect(() => new KubernetesPrerequisites(stack, 'Without', { kubernetes })).not.toThrow();
  });

  test('are listed once', () => {
    const role = iam.Role.fromRoleName(stack, 'OnCall', 'on-call');
    expect(() => autoMode({ operators: [role, role] })).toThrow('operators lists a role twice');
  });
});

describe('order', () => {
  test('what is applied later and earlier comes after them', () => {
    const kubernetes = KubernetesAccess.fromEksV2(testCluster(stack), { namespace: 'orders' });
    new KubernetesWorkload(stack, 'Earlier', { kubernetes, image });
    new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes });
    new KubernetesWorkload(stack, 'Later', { kubernetes, image });

    const template = Template.fromStack(stack);
    for (const workload of [/^EarlierManifest/, /^LaterManifest/]) {
      expect(dependenciesOf(template, workload)).toEqual(expect.arrayContaining([
        'PrerequisitesKeda', 'PrerequisitesMetricsServer', 'PrerequisitesNamespace', 'PrerequisitesNamespacePolicy', 'PrerequisitesNetworkPolicies',
      ]));
    }
    // They wait for nothing of that themselves.
    expect(dependenciesOf(template, /^PrerequisitesNamespace[0-9A-F]{8}$/)).toEqual([]);
  });

  test('works from another stack than the workload\'s', () => {
    const app = stack.node.root as App;
    const kubernetes = KubernetesAccess.fromEksV2(testCluster(stack), { namespace: 'orders' });
    const platform = new Stack(app, 'Platform');
    new KubernetesWorkload(stack, 'Api', { kubernetes, image });
    new KubernetesPrerequisites(platform, 'Prerequisites', { kubernetes });
    app.synth();
    expect(stack.dependencies.map(({ node }) => node.path)).toEqual(['Platform']);
  });
});

describe('refuse', () => {
  test('to be made twice for one access', () => {
    const { kubernetes } = withoutAutoMode();
    new KubernetesPrerequisites(stack, 'One', { kubernetes });
    expect(() => new KubernetesPrerequisites(stack, 'Two', { kubernetes, existing: ALL })).toThrow('the KubernetesAccess has KubernetesPrerequisites already');
  });

  test('to make for a second namespace what a cluster has once', () => {
    const cluster = testCluster(stack);
    const role = iam.Role.fromRoleName(stack, 'OnCall', 'on-call');
    const access = (namespace: string) => KubernetesAccess.fromEksV2(cluster, { namespace });
    new KubernetesPrerequisites(stack, 'Orders', { kubernetes: access('orders'), operators: [role] });
    expect(() => new KubernetesPrerequisites(stack, 'Two', { kubernetes: access('payments'), existing: [ClusterPrerequisite.KEDA] }))
      .toThrow("'Test/Orders' makes METRICS_SERVER, NETWORK_POLICIES, POD_IDENTITY_AGENT for the same cluster: list the same in existing here");
    const existing = ALL.filter(prerequisite => prerequisite !== ClusterPrerequisite.NAMESPACE);
    expect(() => new KubernetesPrerequisites(stack, 'Three', { kubernetes: access('three'), existing, operators: [role] }))
      .toThrow("operators has a role that 'Test/Orders' gives access to the same cluster");
    expect(new KubernetesPrerequisites(stack, 'Four', { kubernetes: access('four'), existing }).namespace).toBeDefined();
  });

  test.each<[Props, string]>([
    [{ existing: [ClusterPrerequisite.KEDA], kedaVersion: '2.21.0' }, 'kedaVersion can\'t be given when ClusterPrerequisite.KEDA is in existing'],
    [{ kedaOperatorRole: iam.Role.fromRoleName(new Stack(), 'Keda', 'keda') }, 'kedaOperatorRole needs ClusterPrerequisite.KEDA in existing'],
  ])('props without effect', (props, message) => {
    expect(() => autoMode(props)).toThrow(message);
  });
});

describe('warnings', () => {
  const warnings = () => Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp('cdk-order-pipeline'))
    .map(({ id, entry }) => `${id} ${/\[ack: cdk-order-pipeline:(\w+)\]/.exec(String(entry.data))?.[1]}`);

  function workload(kubernetes: KubernetesAccess, scaling?: Autoscaling) {
    const exposure = ServiceExposure.internalNetworkLoadBalancer({ plaintext: true });
    return new KubernetesWorkload(stack, 'Api', { kubernetes, image, scaling, exposure });
  }

  test('name what a cluster of the app lacks', () => {
    const kubernetes = KubernetesAccess.fromEksV2(madeCluster(stack), { namespace: 'orders' });
    workload(kubernetes);
    kubernetes.applyManifest(stack, 'Scaler', [{ apiVersion: 'keda.sh/v1alpha1', kind: 'ScaledObject', metadata: { name: 's' }, spec: { triggers: [] } }]);
    expect(warnings()).toEqual([
      '/Test kedaMissing', '/Test/Api metricsServerMissing', '/Test/Api networkPoliciesNotEnforced', '/Test/Api namespaceMissing',
    ]);
  });

  test('say what to do', () => {
    workload(KubernetesAccess.fromEksV2(madeCluster(stack)));
    const [{ entry }] = Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp('metricsServerMissing'));
    expect(entry.data).toContain('make a KubernetesPrerequisites for this KubernetesAccess, or acknowledge this warning if the cluster gets it by other means');
  });

  test('are only of what is used', () => {
    workload(KubernetesAccess.fromEksV2(madeCluster(stack)), Autoscaling.fixed(2));
    expect(warnings()).toEqual(['/Test/Api networkPoliciesNotEnforced']);
  });

  test('are none with the prerequisites', () => {
    const kubernetes = KubernetesAccess.fromEksV2(madeCluster(stack), { namespace: 'orders' });
    workload(kubernetes);
    kubernetes.applyManifest(stack, 'Scaler', [{ apiVersion: 'keda.sh/v1alpha1', kind: 'ScaledObject', metadata: { name: 's' }, spec: { triggers: [] } }]);
    new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes });
    expect(warnings()).toEqual([]);
  });

  test('are none with the prerequisites of a cluster of aws-eks', () => {
    const kubernetes = KubernetesAccess.fromEks(madeClassicCluster(stack), { namespace: 'orders' });
    workload(kubernetes);
    new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes });
    expect(warnings()).toEqual([]);
  });

  test('are none of what is said to exist', () => {
    const kubernetes = KubernetesAccess.fromEksV2(madeCluster(stack), { namespace: 'orders' });
    workload(kubernetes);
    new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes, existing: ALL });
    expect(warnings()).toEqual([]);
  });

  test('are none where the app supplies it by other means', () => {
    const cluster = madeClassicCluster(stack);
    workload(KubernetesAccess.fromEks(cluster, { namespace: 'orders' }));
    cluster.addHelmChart('Metrics', { chart: 'metrics-server', repository: 'https://kubernetes-sigs.github.io/metrics-server' });
    cluster.addManifest('Namespace', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'orders' } });
    new eks.CfnAddon(stack, 'Cni', { addonName: 'vpc-cni', clusterName: cluster.clusterName, configurationValues: '{"enableNetworkPolicy":"true"}' });
    expect(warnings()).toEqual([]);
  });

  test('see another namespace and an add-on without the setting', () => {
    const cluster = madeCluster(stack);
    workload(KubernetesAccess.fromEksV2(cluster, { namespace: 'orders' }), Autoscaling.fixed(1));
    cluster.addManifest('Namespace', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'orders-2' } });
    new eksv2.Addon(stack, 'Cni', { addonName: 'vpc-cni', cluster });
    expect(warnings()).toEqual(['/Test/Api networkPoliciesNotEnforced', '/Test/Api namespaceMissing']);
  });

  test('are none of a cluster of another app, whose inside is unknown, but of its subnets', () => {
    workload(KubernetesAccess.fromEksV2(testCluster(stack), { namespace: 'orders' }));
    expect(warnings()).toEqual(['/Test/Api subnetTagsUnknown']);
  });

  test('can be acknowledged', () => {
    CoreAnnotations.of(workload(KubernetesAccess.fromEksV2(testCluster(stack)))).acknowledgeWarning('cdk-order-pipeline:subnetTagsUnknown');
    expect(warnings()).toEqual([]);
  });

  test.each([
    [{ version: eksv2.KubernetesVersion.V1_35 }, ['/Test/Api podSecurityGroupIgnored']],
    [{ version: eksv2.KubernetesVersion.V1_36 }, []],
    [{ defaultCapacityType: eksv2.DefaultCapacityType.NODEGROUP }, []],
  ])('tell that security groups of pods need a newer version in EKS Auto Mode: %j', (props, expected) => {
    const cluster = madeCluster(stack, props);
    const kubernetes = KubernetesAccess.fromEksV2(cluster);
    new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes });
    new KubernetesWorkload(stack, 'Api', { kubernetes, image, podSecurityGroup: cluster.clusterSecurityGroup });
    expect(warnings()).toEqual(expected);
  });
});

test.each<[string, () => KubernetesAccess]>([
  ['auto-mode', () => KubernetesAccess.fromEksV2(testCluster(stack), { namespace: 'orders' })],
  ['without-auto-mode', () => KubernetesAccess.fromEksV2(testCluster(stack), { namespace: 'orders', loadBalancerClass: 'service.k8s.aws/nlb' })],
  ['aws-eks', () => KubernetesAccess.fromEks(testClassicCluster(stack), { namespace: 'orders' })],
])('keep their logical ids: %s', (name, access) => {
  const operators = [iam.Role.fromRoleName(stack, 'OnCall', 'on-call')];
  new KubernetesPrerequisites(stack, 'Prerequisites', { kubernetes: access(), operators });
  expectLogicalIds(stack, `${__dirname}/kubernetes-prerequisites-${name}.ids.json`);
});
