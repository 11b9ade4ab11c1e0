import type { Registry } from 'prom-client';
import Type, { type Static } from 'typebox';
import { isSafeUrl } from './authentication-keys.ts';
import { TokenAuthentication } from './authentication.ts';
import { withoutAuthorization, type Authentication } from './caller.ts';
import { ConfigError } from '../config.ts';
import type { Logger } from '../telemetry.ts';

const ISSUER = 'the issuer of the tokens, an address with https that is the iss of the tokens to the letter';
const AUDIENCE = 'the aud of the tokens, or several with commas between them';
const KEYS_URL = 'the address of the public keys of the issuer, with https (or on this machine), or nothing for the one in its discovery document';

/** Every API. Nobody opens one by forgetting a variable. */
export const authenticationConfig = {
  API_AUTHORIZATION: Type.Enum(['jwt', 'none'], { description: 'jwt for requests with a token of API_JWT_ISSUER, or none for an API that anybody may use' }),
  API_JWT_ISSUER: Type.Optional(Type.String({ description: ISSUER })),
  API_JWT_AUDIENCE: Type.Optional(Type.String({ description: AUDIENCE })),
  API_JWKS_URL: Type.Optional(Type.String({ description: KEYS_URL })),
  API_CUSTOMER_CLAIM: Type.String({
    default: 'sub', pattern: '^[!#-\\[\\]-~]+$', description: 'the claim of the tokens with the id of the customer, in ASCII',
  }),
};

const Variables = Type.Object(authenticationConfig);

export interface RunningAuthentication extends Authentication {
  stop(): void;
}

/** Throws a `ConfigError` for variables that do not fit together. */
export function createAuthentication(env: Static<typeof Variables>, common: { logger: Logger; registry: Registry }): RunningAuthentication {
  if (env.API_AUTHORIZATION === 'none') {
    common.logger.warn('the API is open: anybody who reaches it can do everything (API_AUTHORIZATION is none)');
    return { ...withoutAuthorization, stop: () => undefined };
  }
  const { API_JWT_ISSUER: issuer = '', API_JWT_AUDIENCE: audience = '', API_JWKS_URL: jwksUrl, API_CUSTOMER_CLAIM: customerClaim } = env;
  const audiences = audience.split(',').map((one) => one.trim()).filter((one) => one !== '');
  const problems = [
    ...(issuer === '' ? [`API_JWT_ISSUER is missing, which API_AUTHORIZATION jwt needs; set it to: ${ISSUER}`] : []),
    ...(audiences.length === 0 ? [`API_JWT_AUDIENCE is missing, which API_AUTHORIZATION jwt needs; set it to: ${AUDIENCE}`] : []),
    ...(issuer !== '' && jwksUrl === undefined && !isSafeUrl(issuer)
      ? [`API_JWT_ISSUER is ${JSON.stringify(issuer)}, where no keys can be read safely; set it to: ${ISSUER}; or set API_JWKS_URL`] : []),
    ...(jwksUrl !== undefined && !isSafeUrl(jwksUrl) ? [`API_JWKS_URL is ${JSON.stringify(jwksUrl)}; set it to: ${KEYS_URL}`] : []),
  ];
  if (problems.length > 0) throw new ConfigError(problems);
  return new TokenAuthentication({ issuer, audiences, customerClaim, ...(jwksUrl !== undefined && { jwksUrl }), ...common });
}
