#!/usr/bin/env node
// The notes of a release: its section of CHANGELOG.md, which a person wrote, and the list of commits, which `projen bump` made.
//
//   node scripts/release-notes.mjs           the end of `projen bump`: both become dist/changelog.md; a release without a section fails
//   node scripts/release-notes.mjs --write   `npm run changelog`: puts the list into CHANGELOG.md as a draft of the section
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const CHANGELOG = join(root, 'CHANGELOG.md');
const NOTES = join(root, 'dist', 'changelog.md');
const version = readFileSync(join(root, 'dist', 'version.txt'), 'utf8').trim();

/** The text below the heading of the version, which may be a link. */
function sectionOf(text) {
  const [, section] = text.match(new RegExp(`^## \\[?${version.replaceAll('.', '\\.')}(?![\\w.-]).*\\n([^]*?)(?=^## |$(?![^]))`, 'm')) ?? [];
  return section?.trim();
}

// A bump puts its section before those of earlier bumps, which may still be in the folder.
const [, heading, list] = readFileSync(NOTES, 'utf8').match(/^(## .*)\n([^]*?)(?=^## |$(?![^]))/m);

/** The list of commits. Nothing breaks for anybody in a first release. */
function commits() {
  const isFirst = !readFileSync(CHANGELOG, 'utf8').split('\n').some((line) => line.startsWith('## ') && !line.includes(version));
  return (isFirst ? list.replace(/^### ⚠ BREAKING CHANGES[^]*?(?=^### |$(?![^]))/m, '') : list).trim();
}

const written = existsSync(CHANGELOG) ? sectionOf(readFileSync(CHANGELOG, 'utf8')) : undefined;
if (process.argv.includes('--write')) {
  if (written !== undefined) {
    console.log(`CHANGELOG.md has a section for ${version} already; the commits that it should cover:\n\n${commits()}`);
  } else {
    const text = readFileSync(CHANGELOG, 'utf8');
    const at = text.search(/^## /m) < 0 ? text.length : text.search(/^## /m);
    writeFileSync(CHANGELOG, `${text.slice(0, at)}## ${version}\n\n${commits()}\n\n${text.slice(at)}`);
    console.log(`CHANGELOG.md has a draft of the section for ${version}: rewrite it for users, then commit it`);
  }
} else if (written !== undefined) {
  writeFileSync(NOTES, `${heading}\n\n${written}\n${commits() === '' ? '' : `\n## Commits\n\n${commits()}\n`}`);
} else if (process.env.RELEASE !== 'true') {
  writeFileSync(NOTES, `${heading}\n\n${commits()}\n`);
} else {
  console.error(`CHANGELOG.md has no section for ${version}: run \`npm run changelog\`, edit the draft and commit it first`);
  process.exit(1);
}
