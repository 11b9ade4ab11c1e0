import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import * as cdk from 'aws-cdk-lib';
import recommendedFlags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { AwsSolutionsChecks } from 'cdk-nag';
import { WorkloadImage } from 'cdk-order-pipeline';

/**
 * Synthesizes stacks as the app does, with an image that holds nothing, since the template does not depend on its content. Everything is
 * deleted after the tests of the file. With `checks` cdk-nag is a part of the synthesis.
 */
export function synthesizer() {
  const scratch = mkdtempSync(join(tmpdir(), 'stack-'));
  after(() => rmSync(scratch, { recursive: true }));
  const image = join(scratch, 'image');
  mkdirSync(image);
  writeFileSync(join(image, 'Dockerfile'), 'FROM scratch\n');
  return <T extends cdk.Stack>(make: (app: cdk.App, image: WorkloadImage) => T, checks: boolean) => {
    const app = new cdk.App({ context: recommendedFlags, outdir: mkdtempSync(join(scratch, 'assembly-')) });
    if (checks) cdk.Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
    const stack = make(app, WorkloadImage.fromDirectory(image));
    return { stack, assembly: app.synth() };
  };
}
