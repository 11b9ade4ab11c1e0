import * as events from 'aws-cdk-lib/aws-events';
import type { Construct } from 'constructs';

/** A bus that was given, with all that a bus can do. Of one that is known by a reference only, it is imported. */
export function eventBusOf(scope: Construct, id: string, given: events.IEventBusRef): events.IEventBus {
  return isEventBus(given) ? given : events.EventBus.fromEventBusArn(scope, id, given.eventBusRef.eventBusArn);
}

function isEventBus(bus: events.IEventBusRef): bus is events.IEventBus {
  return 'grantPutEventsTo' in bus;
}
