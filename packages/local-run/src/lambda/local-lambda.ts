import { join } from 'node:path';
import type { Model, Resource } from '../assembly/model.ts';
import { NAMED } from '../assembly/types.ts';
import type { LocalService, RunContext } from '../service.ts';
import type { LocalSqs } from '../sqs/local-sqs.ts';
import { readFunctions } from './functions.ts';

/** AWS Lambda: the functions of the stacks that a queue calls, each as processes of its own. */
export class LocalLambda implements LocalService {
  readonly name = 'lambda';
  readonly title = 'functions';
  readonly types = {
    'AWS::Lambda::Function': { ref: functionName, attributes: { Arn: (fn: Resource) => fn.arn('lambda', `function:${functionName(fn)}`) } },
    // A version or an alias is the function itself: on this machine there is only the newest code.
    'AWS::Lambda::Version': {
      ref: (version: Resource) => version.get('FunctionName'), attributes: { FunctionArn: (version: Resource) => version.get('FunctionName') },
    },
    'AWS::Lambda::Alias': { ref: (alias: Resource) => alias.get('FunctionName'), attributes: { AliasArn: (alias: Resource) => alias.get('FunctionName') } },
    'AWS::Lambda::EventSourceMapping': NAMED,
  };
  readonly withoutMeaning = { 'code layers: Node.js functions carry their code': ['AWS::Lambda::LayerVersion'] };
  readonly #context: RunContext;
  readonly #sqs: LocalSqs;

  constructor(context: RunContext, sqs: LocalSqs) {
    this.#context = context;
    this.#sqs = sqs;
  }

  async start(): Promise<undefined> {
    // Functions are called by their queues, and have no address.
  }

  async make(model: Model): Promise<undefined> {
    const called = readFunctions(model, this.#sqs.queues, join(this.#context.dataDir, 'functions'), this.#context);
    const uncalled = model.ofType('AWS::Lambda::Function').filter((fn) => !called.has(fn)).length;
    this.#context.leaveOut('functions that no queue calls: custom resources and other triggers', uncalled);
  }

  async stop(): Promise<void> {
    // The workloads of the run stop them.
  }
}

function functionName(fn: Resource): string {
  return fn.physicalName('FunctionName', 64);
}
