/** A sentence about the Node.js that runs this, if it lacks something that the local run needs; undefined when it has everything. */
export function unsupportedNode(): string | undefined {
  // Since 22.13 it needs no flag. In it, the messages of the queues outlive a run.
  if (process.getBuiltinModule?.('node:sqlite') !== undefined) return undefined;
  return `cdk-local-run needs Node.js 22.13 or newer, which has node:sqlite; this is ${process.version}. Install the newest LTS version from https://nodejs.org.`;
}
