/**
 * The authorization of the routes of an HTTP API. There is no default: a public API must be an explicit choice.
 */
export class ApiAuthorizer {
  /** Allows callers with AWS credentials that allow `execute-api:Invoke`. */
  public static iam(): ApiAuthorizer {
    return new ApiAuthorizer('IAM');
  }

  /**
   * Allows callers with a token of an issuer.
   *
   * @param issuer the issuer's URL, which is the `iss` claim of its tokens
   * @param audience the accepted `aud` claims
   */
  public static jwt(issuer: string, audience: string[]): ApiAuthorizer {
    return new ApiAuthorizer('JWT', issuer, audience);
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
  ) {
  }
}
