import * as events from 'aws-cdk-lib/aws-events';
import type { Construct } from 'constructs';

/** The given bus as a full `IEventBus`. A bus that is known only by a reference is imported. */
export function eventBusOf(scope: Construct, id: string, given: events.IEventBusRef): events.IEventBus {
  return isEventBus(given) ? given : events.EventBus.fromEventBusArn(scope, id, given.eventBusRef.eventBusArn);
}

function isEventBus(bus: events.IEventBusRef): bus is events.IEventBus {
  return 'grantPutEventsTo' in bus;
}
