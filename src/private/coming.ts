/** The error of a feature that is in the API and not available yet. The test `test/coming.test.ts` lists all of them. */
export function coming(what: string, feature: string, until: string): Error {
  return new Error(`${what} is not available yet: it comes with ${feature}. Until then, ${until}.`);
}
