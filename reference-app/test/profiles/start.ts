// `npm start` with one profile more: the folder beside this file.
import { PROFILES } from '../../profiles/index.ts';
import { main } from '../../start/main.ts';

process.exitCode = await main(process.argv.slice(2), [PROFILES, import.meta.dirname]);
