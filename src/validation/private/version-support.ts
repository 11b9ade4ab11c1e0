/** The last days of a version of Kubernetes on EKS, in UTC. */
export interface VersionSupport {
  readonly standard: string;
  readonly extended: string;
}

/**
 * The ends of support, from the release calendar of EKS as of June 2026.
 *
 * @see https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html#kubernetes-release-calendar
 */
export const VERSION_SUPPORT: { readonly [version: string]: VersionSupport } = {
  '1.29': { standard: '2025-03-23', extended: '2026-03-23' },
  '1.30': { standard: '2025-07-23', extended: '2026-07-23' },
  '1.31': { standard: '2025-11-26', extended: '2026-11-26' },
  '1.32': { standard: '2026-03-23', extended: '2027-03-23' },
  '1.33': { standard: '2026-07-29', extended: '2027-07-29' },
  '1.34': { standard: '2026-12-02', extended: '2027-12-02' },
  '1.35': { standard: '2027-03-27', extended: '2028-03-27' },
  '1.36': { standard: '2027-08-02', extended: '2028-08-02' },
};

/** The months of a year have 730 hours each, as in AWS's price lists: 0.60 instead of 0.10 US dollars for each hour. */
export const EXTENDED_SUPPORT_MORE_PER_MONTH = 0.5 * 730;

/** The support of a version that the calendar has, or an empty one of a version that is older than all of these. */
export function supportOf(version: string): VersionSupport | undefined {
  const known = VERSION_SUPPORT[version];
  const minor = /^1\.(\d+)$/.exec(version)?.[1];
  if (known || minor === undefined) { return known; }
  // A newer one than the calendar has is supported.
  return Number(minor) < 29 ? { standard: '', extended: '' } : undefined;
}
