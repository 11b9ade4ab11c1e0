import { App, PropertyInjectors } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { allConstructs } from './all-constructs';
import * as library from '../../src';

type ConstructClass = { readonly name: string; readonly PROPERTY_INJECTION_ID?: string };

/** What the API has a place for and can't be made yet. */
const COMING = ['MskEventCluster'];

const classes = Object.values<unknown>(library).filter((exported): exported is ConstructClass =>
  typeof exported === 'function' && exported.prototype instanceof Construct && !COMING.includes(exported.name));

test('there are as many constructs as are known here', () => {
  expect(classes.map(({ name }) => name).sort()).toEqual([
    'BufferedEventConsumer', 'ConsumerAlarms', 'CqrsAuroraCluster', 'CqrsDatabaseAlarms', 'CqrsProxy', 'EventDrivenOrderPipeline',
    'KubernetesJob', 'KubernetesManifestFiles', 'KubernetesPrerequisites', 'KubernetesWorkload', 'OrderEventBus', 'PipelineAlarms', 'PipelineDashboard',
  ]);
});

test.each(classes)('the id of $name for property injectors is made of its name', ({ name, PROPERTY_INJECTION_ID }) => {
  expect(PROPERTY_INJECTION_ID).toBe(`cdk-order-pipeline.${name}`);
});

test('every construct asks for the injector of its id, with the properties that it was given', () => {
  const app = new App();
  const asked: { [id: string]: object } = {};
  PropertyInjectors.of(app).add(...classes.map(({ PROPERTY_INJECTION_ID: constructUniqueId = '' }) => ({
    constructUniqueId,
    inject: (props: object) => { asked[constructUniqueId] ??= props; return props; },
  })));
  allConstructs(app);
  expect(Object.keys(asked).sort()).toEqual(classes.map(({ name }) => `cdk-order-pipeline.${name}`).sort());
  expect(asked['cdk-order-pipeline.BufferedEventConsumer']).toMatchObject({ eventPattern: { detailType: ['OrderCreated'] } });
  expect(asked['cdk-order-pipeline.EventDrivenOrderPipeline']).toHaveProperty('migration');
});
