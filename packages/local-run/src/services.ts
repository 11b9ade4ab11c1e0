import { LocalCloudWatch } from './cloudwatch/local-cloudwatch.ts';
import { LocalEventBridge } from './eventbridge/local-eventbridge.ts';
import { LocalIssuer } from './issuer/local-issuer.ts';
import { LocalKubernetes } from './kubernetes/local-kubernetes.ts';
import { LocalLambda } from './lambda/local-lambda.ts';
import { OtherServices } from './other-services/other-services.ts';
import { LocalRds } from './rds/local-rds.ts';
import { LocalScheduler } from './scheduler/local-scheduler.ts';
import { LocalSecretsManager } from './secretsmanager/local-secrets-manager.ts';
import type { RunContext } from './service.ts';
import { LocalSns } from './sns/local-sns.ts';
import { LocalSqs } from './sqs/local-sqs.ts';

/** The services of a run, in the order in which they make the resources of the stacks. */
export function builtInServices(context: RunContext) {
  const secretsManager = new LocalSecretsManager(context);
  const sqs = new LocalSqs(context);
  const eventBridge = new LocalEventBridge(context);
  return {
    secretsManager,
    cloudWatch: new LocalCloudWatch(context),
    rds: new LocalRds(context, secretsManager),
    sqs,
    sns: new LocalSns(context),
    eventBridge,
    scheduler: new LocalScheduler(context, eventBridge),
    issuer: new LocalIssuer(context),
    // After the services that send to functions.
    lambda: new LocalLambda(context, sqs),
    kubernetes: new LocalKubernetes(context),
    // An address that the user gives wins over that of a service of the run.
    otherServices: new OtherServices(context),
  };
}
