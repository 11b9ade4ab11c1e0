#!/usr/bin/env node
// Asks programs of others for their opinion of the templates, manifests, Dockerfiles and workflows of the repository. A finding that is not
// in scripts/judges/accepted-findings.mjs fails, and so does an entry there that no judge finds any more. Decision 029 has the choice.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { acceptedFindings } from './judges/accepted-findings.mjs';
import { filesToJudge } from './judges/files.mjs';
import { cacheFolder, install, JUDGES, missingTool } from './judges/judges.mjs';
import { optionsOf } from './lib/options.mjs';
import { root, Steps, withFolder } from './lib/user-project.mjs';

const USAGE = `usage: npm run test:judges [-- <options>]

  --only <judge>  one of these judges; may be repeated
${JUDGES.map(({ name, looksAt, package: { version } }) => `                    ${name.padEnd(10)} ${version.padEnd(8)} ${looksAt}`).join('\n')}
  --all           also prints the findings that are accepted
  --keep          keeps the folder with the templates and manifests, and prints where it is
  --help          this text

The judges are kept in ${cacheFolder()}; the variable CDK_ORDER_PIPELINE_CACHE names another folder.`;

const options = optionsOf(USAGE, {
  only: { type: 'string', multiple: true, default: [] }, all: { type: 'boolean', default: false }, keep: { type: 'boolean', default: false },
}, ({ only }) => {
  const unknown = only.find((name) => !JUDGES.some((judge) => judge.name === name));
  if (unknown !== undefined) { throw new Error(`there is no judge ${unknown}: choose ${JUDGES.map(({ name }) => name).join(', ')}`); }
});

const chosen = JUDGES.filter(({ name }) => options.only.length === 0 || options.only.includes(name));
const skipped = chosen.flatMap((judge) => { const missing = missingTool(judge); return missing ? [{ judge, missing }] : []; });
for (const { judge, missing } of skipped) { console.log(`  skip  ${judge.name}: ${missing}`); }
const judges = chosen.filter((judge) => !skipped.some((other) => other.judge === judge));
if (judges.length === 0) {
  console.log('\n0 passed, 0 failed');
  process.exit(0);
}

/** A proxy that does not exist, so that a judge that calls a network fails. */
const offline = Object.fromEntries(['http_proxy', 'https_proxy', 'all_proxy'].flatMap((name) => [[name, 'http://127.0.0.1:9'], [name.toUpperCase(), 'http://127.0.0.1:9']]));

/** Runs a program, and returns its standard output. Judges exit with other codes than 0 if they find something. */
function runnerOf(programs) {
  return (name, args) => {
    const { stdout, stderr, error } = spawnSync(join(programs, name), args, { cwd: root, env: { ...process.env, ...offline, NO_COLOR: '1' }, encoding: 'utf8', maxBuffer: 1 << 28 });
    if (error) { throw error; }
    if (stdout.trim() === '' && stderr.trim() !== '') { throw new Error(`${name} printed no findings, but:\n${stderr.slice(-2000)}`); }
    return stdout;
  };
}

const matches = ({ rules, at }, { rule, place }) => rules.includes(rule) && at.test(place);

/** Throws the findings without an entry in the list, and the entries without a finding. */
function compare(name, findings) {
  const accepted = acceptedFindings.filter(({ judge }) => judge === name);
  const open = findings.filter((finding) => !accepted.some((entry) => matches(entry, finding)));
  const stale = accepted.flatMap((entry) => entry.rules.filter((rule) => !findings.some((finding) => finding.rule === rule && matches(entry, finding)))
    .map((rule) => `${rule} at ${entry.at} is accepted, and not found any more: take it off the list`));
  if (options.all) { for (const { rule, place, text } of findings) { console.log(`        ${rule} at ${place}: ${text}`); } }
  if (open.length + stale.length > 0) {
    throw new Error([...open.map(({ rule, place, text }) => `${rule} at ${place}: ${text}`), ...stale].join('\n'));
  }
  return { note: `${findings.length} accepted` };
}

const steps = new Steps();
await withFolder('judges', options.keep, async (folder) => {
  const synthesized = await steps.step('the templates and manifests of all apps', async () => {
    const files = await filesToJudge(folder);
    return { files, note: Object.entries(files).map(([kind, paths]) => `${paths.length} ${kind}`).join(', ') };
  });
  if (!synthesized) { return; }
  for (const judge of judges) {
    await steps.step(`${judge.name} ${judge.package.version}: ${judge.looksAt}`, () => compare(judge.name, judge.judge(runnerOf(install(judge)), synthesized.files)));
  }
});
steps.finish();
