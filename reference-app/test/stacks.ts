import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import * as cdk from 'aws-cdk-lib';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { AwsSolutionsChecks } from 'cdk-nag';
import { EksClusterChecks, WorkloadImage } from 'cdk-order-pipeline';
import type { ServiceImages } from '../lib/platform.ts';

/**
 * Synthesizes stacks as the app does, with images that hold nothing, since the template does not depend on their content. Everything is
 * deleted after the tests of the file. With `checks` cdk-nag is a part of the synthesis.
 */
export function synthesizer() {
  const scratch = mkdtempSync(join(tmpdir(), 'stack-'));
  after(() => rmSync(scratch, { recursive: true }));
  const folders = ['services', 'migration'].map((name) => {
    const folder = join(scratch, name);
    mkdirSync(folder);
    writeFileSync(join(folder, 'Dockerfile'), `FROM scratch AS ${name}\n`);
    return folder;
  });
  return <T extends cdk.Stack>(make: (app: cdk.App, images: ServiceImages) => T, checks: boolean) => {
    const app = new cdk.App({ context: recommendedFlags, outdir: mkdtempSync(join(scratch, 'assembly-')) });
    if (checks) cdk.Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new EksClusterChecks());
    const [services, migration] = folders.map((folder) => WorkloadImage.fromDirectory(folder)) as [WorkloadImage, WorkloadImage];
    const stack = make(app, { services, migration });
    return { stack, assembly: app.synth() };
  };
}
