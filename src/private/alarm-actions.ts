import { Annotations, Stack } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import type { Construct } from 'constructs';

/** The actions of all alarms of a scope. */
export interface AlarmActions {
  readonly actions?: cloudwatch.IAlarmAction[];
  readonly okActions?: cloudwatch.IAlarmAction[];
}

/** Makes an alarm. By default it compares with `>=`, and missing data is good. */
export type MakeAlarm = (id: string, props: cloudwatch.AlarmProps) => cloudwatch.Alarm;

/**
 * Returns a function that makes alarms in the scope, all with the same actions. At synthesis, alarms without any action are a warning:
 * actions that were added to an alarm later count.
 */
export function alarmsWith(scope: Construct, { actions = [], okActions = [] }: AlarmActions): MakeAlarm {
  const alarms: cloudwatch.Alarm[] = [];
  scope.node.addValidation({
    validate: () => {
      const silent = alarms.filter((alarm) => !hasActions(alarm)).map(({ node }) => node.id);
      if (silent.length > 0) {
        Annotations.of(scope).addWarningV2('cdk-order-pipeline:alarmsWithoutActions', `${silent.join(', ')}: an alarm without actions is only `
          + 'visible in the console of CloudWatch. Give actions, such as an SnsAction, or acknowledge this warning if the state of the alarms is '
          + 'read by other means, such as a composite alarm');
      }
      return [];
    },
  });
  return (id, props) => {
    const alarm = new cloudwatch.Alarm(scope, id, {
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
      ...props,
    });
    alarm.addAlarmAction(...actions);
    alarm.addOkAction(...okActions);
    alarms.push(alarm);
    return alarm;
  };
}

/** Property injectors may switch the actions off, too. */
function hasActions(alarm: cloudwatch.Alarm): boolean {
  const { alarmActions, actionsEnabled } = alarm.node.defaultChild as cloudwatch.CfnAlarm;
  const arns: unknown = Stack.of(alarm).resolve(alarmActions);
  return actionsEnabled !== false && Array.isArray(arns) && arns.length > 0;
}
