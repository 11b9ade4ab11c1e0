import { Fn, Token } from 'aws-cdk-lib';

/**
 * Options of the authorization by tokens.
 */
export interface JwtAuthorizerOptions {
  /**
   * The address of the issuer's keys (JWKS).
   *
   * @default - `jwks_uri` of the issuer's `/.well-known/openid-configuration`
   */
  readonly jwksUri?: string;

  /**
   * The claim of the token that has the id of the customer.
   *
   * @default 'sub'
   */
  readonly customerClaim?: string;
}

/**
 * The authorization of the routes of an HTTP API. There is no default: a public API must be an explicit choice.
 */
export class ApiAuthorizer {
  /**
   * Allows callers with AWS credentials that allow `execute-api:Invoke`.
   *
   * It needs a host that checks the signatures, such as API Gateway. On Kubernetes it is an error.
   */
  public static iam(): ApiAuthorizer {
    return new ApiAuthorizer('IAM');
  }

  /**
   * Allows callers with a token of an issuer.
   *
   * On Kubernetes, the program of the API checks the tokens: it gets issuer and audience in its environment. It reads the keys at
   * `jwksUri`, or at the issuer, and may connect to their port.
   *
   * @param issuer the issuer's URL, which is the `iss` claim of its tokens
   * @param audience the accepted `aud` claims
   */
  public static jwt(issuer: string, audience: string[], options: JwtAuthorizerOptions = {}): ApiAuthorizer {
    requireHttps('issuer', issuer);
    if (options.jwksUri !== undefined) { requireHttps('jwksUri', options.jwksUri); }
    if (options.customerClaim === '') { throw new Error('customerClaim of ApiAuthorizer.jwt() is empty: name a claim, or leave it out for sub'); }
    if (!Token.isUnresolved(audience)) {
      // They become one variable, separated by commas.
      const wrong = audience.find((one) => !Token.isUnresolved(one) && (one === '' || one.includes(',')));
      if (audience.length === 0 || wrong !== undefined) {
        throw new Error('audience of ApiAuthorizer.jwt() must have at least one element, and each must have a character and no comma, got '
          + JSON.stringify(audience));
      }
    }
    return new ApiAuthorizer('JWT', issuer, audience, options);
  }

  /** Allows everybody who can reach the API. */
  public static publicAccess(): ApiAuthorizer {
    return new ApiAuthorizer('NONE');
  }

  private constructor(
    /** @internal */
    public readonly _kind: 'IAM' | 'JWT' | 'NONE',
    /**
     * The issuer of the tokens.
     *
     * @default - none: the authorizer asks for no token
     */
    public readonly issuer?: string,
    /**
     * The accepted audiences.
     *
     * @default - none: the authorizer asks for no token
     */
    public readonly audience?: string[],
    private readonly options: JwtAuthorizerOptions = {},
  ) {
  }

  /**
   * The TCP port of the address where a program reads the keys; undefined without one, or if only the deployment knows the address.
   *
   * @internal
   */
  public get _keysPort(): number | undefined {
    const [, host, port] = /^https:\/\/([^/?#]*?)(?::(\d+))?(?:[/?#]|$)/.exec(this.options.jwksUri ?? this.issuer ?? '') ?? [];
    return host === undefined ? undefined : Number(port ?? 443);
  }

  /**
   * The environment variables with which the program of an API checks its callers: `API_AUTHORIZATION` (`jwt` or `none`), and with `jwt`
   * `API_JWT_ISSUER`, `API_JWT_AUDIENCE` (separated by commas), `API_JWKS_URL` and `API_CUSTOMER_CLAIM` if they are given.
   *
   * With `iam()` there are none: the host checks the callers.
   */
  public get environment(): { [name: string]: string } {
    switch (this._kind) {
      case 'IAM': return {};
      case 'NONE': return { API_AUTHORIZATION: 'none' };
      default: return {
        API_AUTHORIZATION: 'jwt',
        API_JWT_ISSUER: this.issuer!,
        API_JWT_AUDIENCE: Token.isUnresolved(this.audience) ? Fn.join(',', this.audience!) : this.audience!.join(','),
        ...this.options.jwksUri !== undefined && { API_JWKS_URL: this.options.jwksUri },
        ...this.options.customerClaim !== undefined && { API_CUSTOMER_CLAIM: this.options.customerClaim },
      };
    }
  }
}

/** Keys that come without TLS can be anybody's. */
function requireHttps(name: string, url: string): void {
  if (!Token.isUnresolved(url) && !/^https:\/\/[^\s/]/.test(url)) {
    throw new Error(`${name} of ApiAuthorizer.jwt() must be an address with https, such as https://login.example.com, got '${url}'`);
  }
}
