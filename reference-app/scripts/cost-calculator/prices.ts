/** The page of a price and the month in which it was read there. */
export interface Source { readonly url: string; readonly asOf: string }
interface Priced extends Source { readonly dollars: number; readonly per: string }

/** List prices of us-east-1 without free tiers. */
export const PRICES = {
  eventBridgeEvent: { dollars: 1.0, per: 'million custom events of up to 64 KB', url: 'https://aws.amazon.com/eventbridge/pricing/', asOf: '2026-11' },
  archivedGb: { dollars: 0.1, per: 'GB that an archive takes in', url: 'https://aws.amazon.com/eventbridge/pricing/', asOf: '2026-03' },
  archiveGbMonth: { dollars: 0.023, per: 'GB-month in an archive', url: 'https://aws.amazon.com/eventbridge/pricing/', asOf: '2026-03' },
  sqsRequest: { dollars: 0.4, per: 'million requests of up to 64 KB, standard queue', url: 'https://aws.amazon.com/sqs/pricing/', asOf: '2026-03' },
  acuHour: { dollars: 0.12, per: 'ACU-hour, Aurora Standard', url: 'https://aws.amazon.com/rds/aurora/pricing/', asOf: '2026-06' },
  auroraIo: { dollars: 0.2, per: 'million I/O requests, Aurora Standard', url: 'https://aws.amazon.com/rds/aurora/pricing/', asOf: '2026-06' },
  vcpuHour: { dollars: 0.04048, per: 'vCPU-hour (Fargate, Linux/x86; a node of one\'s own costs less)', url: 'https://aws.amazon.com/fargate/pricing/', asOf: '2026-04' },
  clusterHour: { dollars: 0.1, per: 'hour of an EKS cluster in standard support', url: 'https://aws.amazon.com/eks/pricing/', asOf: '2026-03' },
  nodeVcpuHour: { dollars: 0.0429, per: 'vCPU-hour of a c6a.xlarge on demand, with 12 % for Auto Mode', url: 'https://aws.amazon.com/eks/pricing/', asOf: '2026-03' },
  natHour: { dollars: 0.045, per: 'hour of a NAT gateway', url: 'https://aws.amazon.com/vpc/pricing/', asOf: '2026-09' },
  natGb: { dollars: 0.045, per: 'GB through a NAT gateway', url: 'https://aws.amazon.com/vpc/pricing/', asOf: '2026-09' },
  endpointHour: { dollars: 0.01, per: 'hour of an interface endpoint in a zone', url: 'https://aws.amazon.com/privatelink/pricing/', asOf: '2026-03' },
  endpointGb: { dollars: 0.01, per: 'GB through interface endpoints', url: 'https://aws.amazon.com/privatelink/pricing/', asOf: '2026-03' },
  loadBalancerHour: { dollars: 0.0225, per: 'hour of a Network Load Balancer', url: 'https://aws.amazon.com/elasticloadbalancing/pricing/', asOf: '2026-03' },
  secretMonth: { dollars: 0.4, per: 'secret and month', url: 'https://aws.amazon.com/secrets-manager/pricing/', asOf: '2026-03' },
  keyMonth: { dollars: 1, per: 'customer key and month', url: 'https://aws.amazon.com/kms/pricing/', asOf: '2026-03' },
  alarmMonth: { dollars: 0.1, per: 'metric of an alarm and month', url: 'https://aws.amazon.com/cloudwatch/pricing/', asOf: '2026-03' },
  metricMonth: { dollars: 0.3, per: 'custom metric and month', url: 'https://aws.amazon.com/cloudwatch/pricing/', asOf: '2026-03' },
  metricRequest: { dollars: 0.01, per: 'thousand calls of PutMetricData', url: 'https://aws.amazon.com/cloudwatch/pricing/', asOf: '2026-03' },
  dashboardMonth: { dollars: 3, per: 'dashboard and month', url: 'https://aws.amazon.com/cloudwatch/pricing/', asOf: '2026-03' },
} satisfies Record<string, Priced>;
