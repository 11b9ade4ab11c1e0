#!/usr/bin/env node
// Plays more random histories of orders on the services and PostgreSQL than `npm test` does, against the model of the domain.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { optionsOf } from './lib/options.mjs';

const USAGE = `usage: npm run test:model [-- <options>]

  --runs <n>  the number of histories; default: 1000, about a minute
  --help      this text`;

const { runs } = optionsOf(USAGE, { runs: { type: 'string', default: '1000' } }, (given) => {
  if (!/^[1-9]\d*$/.test(given.runs)) { throw new Error(`--runs is a number from 1, not ${given.runs}`); }
});
process.exitCode = spawnSync(process.execPath, ['../scripts/node-test.mjs', 'test/model/postgres.test.ts'], {
  cwd: join(import.meta.dirname, '../reference-app'), env: { ...process.env, MODEL_RUNS: runs }, stdio: 'inherit',
}).status ?? 1;
