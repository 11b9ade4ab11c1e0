import { join } from 'node:path';
import * as cdk from 'aws-cdk-lib';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { AwsSolutionsChecks } from 'cdk-nag';
import { EksClusterChecks, WorkloadImage } from 'cdk-order-pipeline';
import { DEFAULT_PROFILE, loadProfiles } from '../profiles/index.ts';
import { bundleImages } from '../services/bundle.ts';

// The recommended flags turn the strict CloudFormation rules on: a finding fails the synthesis.
const app = new cdk.App({ context: recommendedFlags });
cdk.Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new EksClusterChecks());

// A wrong setting is for a person to repair: its sentence without a stack.
try {
  await synthesize();
} catch (error) {
  console.error(process.env.DEBUG === undefined && error instanceof Error ? `${error.name}: ${error.message}` : error);
  process.exit(1);
}

async function synthesize(): Promise<void> {
  // The system that is synthesized, as in cdk deploy -c profile=fan-out, and the folders of profiles if there are others.
  const name: unknown = app.node.tryGetContext('profile') ?? DEFAULT_PROFILE;
  const profiles = await loadProfiles(app.node.tryGetContext('profiles') as string[] | undefined);
  const profile = profiles.get(String(name));
  if (!profile) throw new Error(`There is no profile ${JSON.stringify(name)}: choose ${[...profiles.keys()].join(' or ')}.`);

  await profile.addStacks(app, async () => {
    if (!profile.image) throw new Error(`The profile ${String(name)} has no images: give it the programs of its containers.`);
    const { services, migration } = await bundleImages(join(import.meta.dirname, '..', 'dist', String(name)), profile.image);
    return { services: WorkloadImage.fromDirectory(services), migration: WorkloadImage.fromDirectory(migration) };
  });
}
