import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as rds from 'aws-cdk-lib/aws-rds';
import { CqrsAuroraCluster, CqrsEngine, DatabaseAccess } from '../../src/cqrs';

let stack: Stack;
let vpc: ec2.IVpc;
beforeEach(() => {
  stack = new Stack(new App(), 'Test');
  vpc = new ec2.Vpc(stack, 'Vpc');
});

test.each<[string, CqrsEngine | undefined, string, string]>([
  ['by default', undefined, '18.4', 'aurora-postgresql18'],
  ['by itself', CqrsEngine.postgres(), '18.4', 'aurora-postgresql18'],
  ['of a version', CqrsEngine.postgres(rds.AuroraPostgresEngineVersion.of('17.5', '17')), '17.5', 'aurora-postgresql17'],
])('PostgreSQL %s', (_, engine, version, family) => {
  const database = new CqrsAuroraCluster(stack, 'Database', { vpc, engine });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::RDS::DBCluster', { Engine: 'aurora-postgresql', EngineVersion: version });
  template.hasResourceProperties('AWS::RDS::DBClusterParameterGroup', { Family: family });
  expect(DatabaseAccess.command(database).environment.DB_ENGINE).toBe('postgres');
});

test('names itself as drivers and Secrets Manager do', () => {
  expect([CqrsEngine.postgres().engineName, CqrsEngine.mysql().engineName]).toEqual(['postgres', 'mysql']);
});

test('an engine that comes later is a value, and an error as soon as a cluster is made of it', () => {
  const engine = CqrsEngine.mysql(rds.AuroraMysqlEngineVersion.VER_3_08_0);
  expect(() => new CqrsAuroraCluster(stack, 'Database', { vpc, engine })).toThrow(
    /^Aurora MySQL 8\.0\.mysql_aurora\.3\.08\.0 \(CqrsEngine\.mysql\) is not available yet: .*Until then, use CqrsEngine\.postgres\(\)\.$/);
});
