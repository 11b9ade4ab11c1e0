import * as cdk from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { ApiAuthorizer, ServiceExposure } from 'cdk-order-pipeline';
import { EXAMPLE_ISSUER, type ApiLimits, type Settings } from './settings.ts';

/** The settings of access to the APIs: the accepted callers, the way to the APIs, and the limits of requests. */
export interface ApiAccess {
  readonly authorizer: ApiAuthorizer;
  readonly exposure: ServiceExposure;
  readonly environment: { readonly [name: string]: string };
}

const VARIABLES: { readonly [Name in keyof ApiLimits]-?: string } = {
  subjectRequestsPerSecond: 'API_SUBJECT_REQUESTS_PER_SECOND',
  addressRequestsPerSecond: 'API_ADDRESS_REQUESTS_PER_SECOND',
  maxConnections: 'API_MAX_CONNECTIONS',
};

export function apiAccess(stack: cdk.Stack, { issuer, audience, customerClaim, certificateArn, limits }: Settings): ApiAccess {
  if (issuer === EXAMPLE_ISSUER) {
    cdk.Annotations.of(stack).addWarningV2('reference-app:exampleIssuer',
      `The setting issuer is the example ${EXAMPLE_ISSUER}, so the APIs get no keys, never become ready, and the deployment fails: `
      + 'give the issuer of your tokens, as in -c issuer=https://login.example.org/ -c audience=orders');
  }
  return {
    authorizer: ApiAuthorizer.jwt(issuer, [...audience], { customerClaim }),
    exposure: ServiceExposure.internalNetworkLoadBalancer({
      ...certificateArn === undefined ? { plaintext: true } : { certificate: Certificate.fromCertificateArn(stack, 'Certificate', certificateArn) },
      // The limit of an address needs the client's; without this, the address is that of the load balancer.
      targetGroupAttributes: { 'preserve_client_ip.enabled': 'true' },
    }),
    environment: Object.fromEntries(Object.entries(limits).map(([name, limit]) => [VARIABLES[name as keyof ApiLimits], String(limit)])),
  };
}
