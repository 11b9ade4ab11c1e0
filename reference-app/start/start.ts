#!/usr/bin/env node
// `npm start`: a system of the reference app on this machine. `npm start -- --help` explains it.
import { main } from './main.ts';

process.exitCode = await main(process.argv.slice(2));
