import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { outdated, publishedContracts, releasedContracts } from './contracts/documents.ts';
import { changedSince } from './contracts/published.ts';

const HELP = `Writes the files that follow from the schemas of events and routes: contracts/, docs/api/.

  npx node scripts/contracts.ts            writes the files that are not up to date; refuses a change that events in the archive can't bear
  npx node scripts/contracts.ts --check    writes nothing, and fails if something would be written
    --against REVISION                 everything that is published there (for example origin/main) must still be there
`;

const { values } = parseArgs({
  options: { check: { type: 'boolean', default: false }, against: { type: 'string' }, help: { type: 'boolean', default: false } },
});
if (values.help) {
  console.log(HELP);
} else {
  await run(values.check);
}

async function run(checkOnly: boolean): Promise<void> {
  const { files, problems: found } = await outdated();
  const changed = values.against === undefined ? [] : changedSince(await releasedContracts(values.against), await publishedContracts());
  const problems = [...found, ...changed];
  if (problems.length > 0) {
    console.error(problems.join('\n'));
    process.exitCode = 1;
    return;
  }
  for (const [path, text] of files) {
    console.log(`${checkOnly ? 'not up to date' : 'written'}: ${relative(process.cwd(), path)}`);
    if (checkOnly) continue;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  if (files.size === 0) console.log('up to date');
  else if (checkOnly) process.exitCode = 1;
  // Documents show the published contracts.
  else await run(false);
}
