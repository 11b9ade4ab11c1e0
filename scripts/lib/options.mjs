import { parseArgs } from 'node:util';

/**
 * Returns the options of a script. With --help it prints the usage and ends the process; a wrong option ends it with code 2.
 *
 * @param check throws an error for a value that is wrong
 */
export function optionsOf(usage, options, check = () => {}) {
  try {
    const { values } = parseArgs({ options: { ...options, help: { type: 'boolean', default: false } } });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    check(values);
    return values;
  } catch (error) {
    console.error(`${error.message}\n\n${usage}`);
    process.exit(2);
  }
}

/** Ends the process if this Node.js runs no TypeScript. */
export function requireTypeScript(script) {
  if (process.features.typescript) { return; }
  console.error(`${script} needs a Node.js that runs TypeScript (22.18 or newer): run it by \`npm run ${script.replace('-', ':')}\`, which brings one`);
  process.exit(1);
}
