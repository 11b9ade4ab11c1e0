import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, CfnParameter, NestedStack, Stack, Validations } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as eksv2 from 'aws-cdk-lib/aws-eks-v2';
import * as kms from 'aws-cdk-lib/aws-kms';
import { AwsSolutionsChecks } from 'cdk-nag';
import { EksClusterChecks } from '../../src';
import { VERSION_SUPPORT } from '../../src/validation/private/version-support';
import { madeClassicCluster, madeCluster } from '../cluster';

const ALL_LOGS = ['api', 'audit', 'authenticator', 'controllerManager', 'scheduler'].map((type) => ({ type }));

/** A cluster that no rule finds; each test breaks one of its properties. */
const compliant: eksv2.CfnClusterProps = {
  roleArn: 'arn:aws:iam::111111111111:role/cluster',
  version: '1.36',
  resourcesVpcConfig: { subnetIds: ['subnet-1', 'subnet-2'], endpointPrivateAccess: true, endpointPublicAccess: false },
  logging: { clusterLogging: { enabledTypes: ALL_LOGS } },
  encryptionConfig: [{ provider: { keyArn: 'arn:aws:kms:eu-west-1:111111111111:key/1' }, resources: ['secrets'] }],
};

function newCluster(stack: Stack, props: Partial<eksv2.CfnClusterProps> = {}, id = 'Cluster'): eksv2.CfnCluster {
  return new eksv2.CfnCluster(stack, id, { ...compliant, ...props });
}

function addon(stack: Stack, clusterName: string, addonName = 'amazon-cloudwatch-observability'): void {
  new eksv2.CfnAddon(stack, `Addon${stack.node.children.length}`, { clusterName, addonName });
}

function report(app: App) {
  const templatePaths = app.synth().stacksRecursively.map(({ templateFullPath }) => templateFullPath);
  return new EksClusterChecks().validate({ templatePaths, appConstruct: app });
}

/** The rules that find something in a stack, each with the logical ids. */
function findings(build: (stack: Stack, app: App) => void): string[] {
  const app = new App({ builtinCloudFormationValidation: false });
  build(new Stack(app, 'Stack'), app);
  return report(app).violations.flatMap(({ ruleName, violatingResources }) => (
    violatingResources.map(({ resourceLogicalId }) => `${ruleName} at ${resourceLogicalId}`)));
}

const findingsOf = (props: Partial<eksv2.CfnClusterProps>) => findings((stack) => addon(stack, newCluster(stack, props).ref));
/** The words of the one finding of a cluster with a version. */
const descriptionOf = (version: string, props: Partial<eksv2.CfnClusterProps> = {}) => {
  const app = new App({ builtinCloudFormationValidation: false });
  const stack = new Stack(app, 'Stack');
  addon(stack, newCluster(stack, { version, ...props }).ref);
  const [violation] = report(app).violations;
  return violation && `${violation.severity} ${violation.ruleName}: ${violation.description}`;
};

beforeEach(() => {
  jest.useFakeTimers({ now: new Date('2026-09-01T12:00:00Z'), doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
});
afterEach(() => {
  jest.useRealTimers();
});

test('a cluster with all of it has no finding, and an app without a cluster has none', () => {
  expect(findingsOf({})).toEqual([]);
  expect(findings(() => undefined)).toEqual([]);
});

describe('PublicEndpoint', () => {
  const subnetIds = ['subnet-1'];
  test.each<[string, eksv2.CfnCluster.ResourcesVpcConfigProperty, boolean]>([
    ['no word about it, which means public', { subnetIds }, true],
    ['public', { subnetIds, endpointPublicAccess: true }, true],
    ['public from everywhere', { subnetIds, endpointPublicAccess: true, publicAccessCidrs: ['10.0.0.0/8', '0.0.0.0/0'] }, true],
    ['public from everywhere by IPv6', { subnetIds, endpointPublicAccess: true, publicAccessCidrs: ['::/0'] }, true],
    ['public with an empty list', { subnetIds, endpointPublicAccess: true, publicAccessCidrs: [] }, true],
    ['public from one network', { subnetIds, endpointPublicAccess: true, publicAccessCidrs: ['198.51.100.0/24'] }, false],
    ['private', { subnetIds, endpointPublicAccess: false }, false],
  ])('%s', (_, resourcesVpcConfig, found) => {
    expect(findingsOf({ resourcesVpcConfig })).toEqual(found ? ['PublicEndpoint at Cluster'] : []);
  });

  test('a list of a parameter is known only at deployment', () => {
    expect(findings((stack) => {
      const publicAccessCidrs = new CfnParameter(stack, 'Cidrs', { type: 'CommaDelimitedList' }).valueAsList;
      addon(stack, newCluster(stack, { resourcesVpcConfig: { subnetIds, endpointPublicAccess: true, publicAccessCidrs } }).ref);
    })).toEqual([]);
  });
});

describe('ControlPlaneLogs', () => {
  test.each([[undefined], [{}], [{ clusterLogging: { enabledTypes: ALL_LOGS.slice(1) } }]])('%j', (logging) => {
    expect(findingsOf({ logging })).toEqual(['ControlPlaneLogs at Cluster']);
  });

  test('it names the missing ones', () => {
    expect(descriptionOf('1.36', { logging: { clusterLogging: { enabledTypes: ALL_LOGS.slice(2) } } })).toMatch(/Missing are: api, audit\.$/);
  });
});

test('SecretsEncryption: without a key', () => {
  expect(findingsOf({ encryptionConfig: undefined })).toEqual(['SecretsEncryption at Cluster']);
  expect(findingsOf({ encryptionConfig: [{ resources: ['secrets'] }] })).toEqual(['SecretsEncryption at Cluster']);
});

describe('the version', () => {
  test.each([
    ['2026-07-29', '1.34', undefined],
    ['2026-12-01', '1.34', undefined],
    ['2026-12-02', '1.34', 'warning ExtendedSupport: The version of Kubernetes is in extended support. Standard support of version 1.34 ended on 2026-12-02. '
      + 'Until 2027-12-02, the cluster costs 0.60 instead of 0.10 US dollars per hour: 365 more per month.'],
    ['2027-12-02', '1.34', 'warning ExtendedSupport'],
    ['2027-12-03', '1.34', 'error UnsupportedVersion'],
    ['2026-09-01', '1.28', 'error UnsupportedVersion'],
    ['2030-01-01', '1.99', undefined],
  ])('on %s, %s', (today, version, begin) => {
    jest.setSystemTime(new Date(`${today}T08:00:00Z`));
    const description = descriptionOf(version);
    expect(description?.slice(0, begin?.length)).toEqual(begin);
  });

  test('with the upgrade policy STANDARD, EKS updates the cluster instead of billing', () => {
    expect(descriptionOf('1.33', { upgradePolicy: { supportType: 'STANDARD' } })).toMatch(/EKS updates the cluster at any time\.$/);
  });

  test('no version means the default of EKS, and one of a parameter is known only at deployment', () => {
    expect(findingsOf({ version: undefined })).toEqual([]);
    expect(findings((stack) => addon(stack, newCluster(stack, { version: new CfnParameter(stack, 'Version').valueAsString }).ref))).toEqual([]);
  });

  test('each version has fourteen months and then twelve', () => {
    for (const { standard, extended } of Object.values(VERSION_SUPPORT)) {
      expect(extended).toBe(standard.replace(/^\d+/, (year) => String(Number(year) + 1)));
    }
    const ends = Object.values(VERSION_SUPPORT).map(({ standard }) => standard);
    expect(ends).toEqual([...ends].sort());
  });
});

describe('ContainerLogs', () => {
  test('nothing, and an add-on for something else', () => {
    expect(findings((stack) => void newCluster(stack))).toEqual(['ContainerLogs at Cluster']);
    expect(findings((stack) => addon(stack, newCluster(stack).ref, 'metrics-server'))).toEqual(['ContainerLogs at Cluster']);
  });

  test('a collector of one cluster does not collect for the other', () => {
    expect(findings((stack) => {
      addon(stack, newCluster(stack).ref);
      newCluster(stack, {}, 'Other');
    })).toEqual(['ContainerLogs at Other']);
  });

  test('by the name of the cluster', () => {
    expect(findings((stack) => { newCluster(stack, { name: 'orders' }); addon(stack, 'orders'); })).toEqual([]);
    expect(findings((stack) => { newCluster(stack, { name: 'orders' }); addon(stack, 'shop'); })).toEqual(['ContainerLogs at Cluster']);
  });

  test('in another stack, and in a nested one', () => {
    expect(findings((stack, app) => addon(new Stack(app, 'Addons'), newCluster(stack).ref))).toEqual([]);
    expect(findings((stack) => addon(new NestedStack(stack, 'Addons'), newCluster(stack).ref))).toEqual([]);
  });

  test('a chart', () => {
    expect(findings((stack) => {
      const { cluster } = sound(stack);
      cluster.addHelmChart('Logs', { chart: 'fluent-bit', repository: 'https://fluent.github.io/helm-charts' });
    })).toEqual([]);
  });
});

/** A cluster as aws-eks-v2 makes it, without a finding but that of its logs. */
function sound(stack: Stack): { cluster: eksv2.Cluster } {
  return {
    cluster: madeCluster(stack, {
      version: eksv2.KubernetesVersion.of('1.36'),
      endpointAccess: eksv2.EndpointAccess.PUBLIC_AND_PRIVATE.onlyFrom('198.51.100.0/24'),
      clusterLogging: Object.values(eksv2.ClusterLoggingTypes),
      secretsEncryptionKey: new kms.Key(stack, 'Key'),
    }),
  };
}

describe('the clusters of aws-cdk-lib', () => {
  const unsound = ['PublicEndpoint', 'ControlPlaneLogs', 'SecretsEncryption', 'ContainerLogs'];
  const rulesOf = (build: (stack: Stack) => void) => findings(build).map((finding) => finding.replace(/ .*/, ''));

  test('of aws-eks-v2, as it is by default', () => {
    expect(rulesOf((stack) => void madeCluster(stack))).toEqual(unsound);
  });

  test('of aws-eks, as it is by default, and with all of it', () => {
    expect(rulesOf((stack) => void madeClassicCluster(stack))).toEqual(unsound);
    expect(rulesOf((stack) => {
      const cluster = madeClassicCluster(stack, {
        endpointAccess: eks.EndpointAccess.PRIVATE,
        clusterLogging: Object.values(eks.ClusterLoggingTypes),
        secretsEncryptionKey: new kms.Key(stack, 'Key'),
      });
      cluster.addHelmChart('Logs', { chart: 'fluent-bit', repository: 'https://fluent.github.io/helm-charts' });
    })).toEqual([]);
    expect(rulesOf((stack) => void madeClassicCluster(stack, { clusterLogging: [eks.ClusterLoggingTypes.API] }))).toContain('ControlPlaneLogs');
  });

  test('in a nested stack', () => {
    expect(findings((stack) => void newCluster(new NestedStack(stack, 'Nested'), { logging: undefined }))).toEqual([
      'ControlPlaneLogs at Cluster', 'ContainerLogs at Cluster',
    ]);
  });

  test('cdk-nag passes an open cluster of aws-eks-v2, which is why there are these checks', () => {
    const open = new Stack(new App(), 'Open');
    newCluster(open, { resourcesVpcConfig: { subnetIds: ['subnet-1'] }, logging: undefined });
    expect(new AwsSolutionsChecks().validateScope(open).violations).toEqual([]);
  });
});

describe('AlarmActions', () => {
  const alarm = (stack: Stack, id: string, props: Partial<cloudwatch.CfnAlarmProps> = {}) => new cloudwatch.CfnAlarm(stack, id, {
    comparisonOperator: 'GreaterThanThreshold', evaluationPeriods: 1, ...props,
  });

  test('an alarm without an action, and one whose actions are off', () => {
    expect(findings((stack) => {
      alarm(stack, 'Silent');
      alarm(stack, 'Empty', { alarmActions: [] });
      alarm(stack, 'Off', { alarmActions: ['arn:aws:sns:eu-west-1:111111111111:alarms'], actionsEnabled: false });
      alarm(stack, 'Loud', { alarmActions: ['arn:aws:sns:eu-west-1:111111111111:alarms'] });
      alarm(stack, 'Given', { alarmActions: new CfnParameter(stack, 'Actions', { type: 'CommaDelimitedList' }).valueAsList });
    })).toEqual(['AlarmActions at Silent', 'AlarmActions at Empty', 'AlarmActions at Off']);
  });

  test('an alarm that a composite one has, which acts; a dashboard does not', () => {
    expect(findings((stack) => {
      const [part, shown] = [alarm(stack, 'Part'), alarm(stack, 'Shown')];
      new cloudwatch.CfnCompositeAlarm(stack, 'Whole', { alarmRule: `ALARM("${part.ref}")` });
      new cloudwatch.CfnDashboard(stack, 'Dashboard', { dashboardBody: shown.attrArn });
    })).toEqual(['AlarmActions at Shown', 'AlarmActions at Whole']);
  });
});

describe('as a plugin of the app', () => {
  const reported = (build: (stack: Stack, app: App) => void) => {
    const app = new App({ builtinCloudFormationValidation: false });
    Validations.of(app).addPlugins(new EksClusterChecks());
    build(new Stack(app, 'Stack'), app);
    const shown = jest.spyOn(console, 'error').mockImplementation();
    try {
      const { pluginReports } = JSON.parse(readFileSync(join(app.synth().directory, 'validation-report.json'), 'utf8')) as {
        pluginReports: { pluginName: string; violations: { ruleName: string }[] }[];
      };
      return pluginReports.find(({ pluginName }) => pluginName === 'EksClusterChecks');
    } finally {
      shown.mockRestore();
    }
  };
  const open = { resourcesVpcConfig: { subnetIds: ['subnet-1'] } };

  test('an error fails the synthesis, and says the fix and the id to acknowledge; a warning does not', () => {
    const failing = () => reported((stack) => addon(stack, newCluster(stack, open).ref));
    expect(failing).toThrow(/whole internet\.[^]*Stack\/Cluster[^]*EndpointAccess\.PRIVATE[^]*'EksClusterChecks::PublicEndpoint'/);
    expect(reported((stack) => void newCluster(stack))).toMatchObject({ violations: [{ ruleName: 'ContainerLogs', severity: 'warning' }] });
  });

  test('a finding is acknowledged where it is, or above, with its reason', () => {
    const reason = 'The cluster is for a workshop of a day.';
    const acknowledged = { id: 'EksClusterChecks::PublicEndpoint', reason };
    expect(reported((stack) => {
      const cluster = newCluster(stack, open);
      addon(stack, cluster.ref);
      Validations.of(cluster).acknowledge(acknowledged);
    })).toMatchObject({ violations: [], suppressedViolations: [{ reason }] });
    expect(reported((stack) => {
      newCluster(new NestedStack(stack, 'Nested'), open);
      Validations.of(stack).acknowledge(acknowledged);
    })).toMatchObject({ violations: [{ ruleName: 'ContainerLogs' }], suppressedViolations: [{ reason }] });
    expect(() => reported((stack) => {
      Validations.of(newCluster(stack, open)).acknowledge(acknowledged);
      newCluster(stack, open, 'Other');
    })).toThrow('Stack/Other');
  });

  test('every rule has a fix and a page, and is in the documentation', () => {
    const page = readFileSync('docs/cluster-validation.md', 'utf8');
    const { ruleIds = [] } = new EksClusterChecks();
    expect(ruleIds).toHaveLength(7);
    expect([...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, id]) => id)).toEqual(ruleIds);
  });
});
