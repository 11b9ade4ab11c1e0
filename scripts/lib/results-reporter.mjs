/** Failures that are none of the test itself: of one in it, of a hook, or of the suite around it. */
const NOT_ITS_OWN = ['subtestsFailed', 'hookFailed', 'cancelledByParent'];

/** A reporter of node:test: a line of JSON for each test that has run. A suite, and a file that can't be loaded, is no test. */
export default async function* results(source) {
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') { continue; }
    const { name, skip, details: { type: kind, error } } = data;
    if (kind === 'suite' || skip !== undefined || /\.test\.ts$/.test(name) || NOT_ITS_OWN.includes(error?.failureType)) { continue; }
    yield `${JSON.stringify({ name, passed: type === 'test:pass', timedOut: error?.failureType === 'testTimeoutFailure' })}\n`;
  }
}
