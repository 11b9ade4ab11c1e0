import { Annotations, CfnResource, Stack, STACK_RESOURCE_LIMIT_CONTEXT } from 'aws-cdk-lib';
import { CfnPolicy } from 'aws-cdk-lib/aws-iam';
import type { IConstruct } from 'constructs';
import { isAttached } from './attached-policy';

/** The resource limit of CloudFormation, and the part of it from which on CDK itself advises to split the stack. */
const [MAX_RESOURCES, ADVISED] = [500, 0.8];

const consumersOf = new WeakMap<Stack, IConstruct[]>();

/**
 * Warns with a way to split a stack before its consumers make it too large: CloudFormation allows 500 resources, and the error of CDK
 * has no advice.
 */
export function watchResources(consumer: IConstruct): void {
  const stack = Stack.of(consumer);
  const consumers = consumersOf.get(stack);
  if (consumers) {
    consumers.push(consumer);
  } else {
    const first = [consumer];
    consumersOf.set(stack, first);
    stack.node.addValidation({ validate: () => checkResources(stack, first) });
  }
}

function checkResources(stack: Stack, consumers: IConstruct[]): string[] {
  const max = Number(stack.node.tryGetContext(STACK_RESOURCE_LIMIT_CONTEXT) ?? MAX_RESOURCES);
  const resources = stack.node.findAll().filter((construct) => Stack.of(construct) === stack && CfnResource.isCfnResource(construct));
  // Policies are counted only if they can decide.
  if (max <= 0 || resources.length < ADVISED * max) { return []; }
  // A policy without an identity isn't in the template.
  const made = resources.filter((resource) => !(resource instanceof CfnPolicy) || isAttached(resource));
  const scopes = new Set(consumers);
  const own = made.filter((resource) => resource.node.scopes.some((scope) => scopes.has(scope)));
  if (made.length < ADVISED * max || own.length < made.length / 2) { return []; }

  const perStack = Math.floor(ADVISED * max * consumers.length / own.length);
  const message = `The stack '${stack.node.path}' has ${made.length} resources, of which ${own.length} are from ${consumers.length} consumers; `
    + `CloudFormation allows ${max}. Make further consumers in nested stacks, at most ${perStack} in each, such as `
    + 'new BufferedEventConsumer(new NestedStack(this, \'Consumers1\'), …). '
    + 'Leave consumers that are deployed where they are: in another stack they get new queues, and the messages in the old ones are lost';
  if (made.length > max) { return [`${message} [cdk-order-pipeline:tooManyResources]`]; }
  Annotations.of(stack).addWarningV2('cdk-order-pipeline:manyResources', message);
  return [];
}
