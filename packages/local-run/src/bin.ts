#!/usr/bin/env node
// `cdk-local-run --help` explains it. The version is checked before anything else is loaded, since older ones cannot load the rest.
import { unsupportedNode } from './node-version.ts';

const problem = unsupportedNode();
if (problem === undefined) {
  const { main } = await import('./cli/command.ts');
  process.exitCode = await main(process.argv.slice(2));
} else {
  process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
}
