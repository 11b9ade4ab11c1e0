import { DefaultTokenResolver, IPostProcessor, IResolvable, IResolveContext, Reference, Stack, StringConcat, Tokenization } from 'aws-cdk-lib';
import type { Construct } from 'constructs';

/** Returns whether a value refers to a resource in the stack of the scope. */
export function refersTo(value: unknown, scope: Construct): boolean {
  const finder = new ReferenceFinder(Stack.of(scope));
  Tokenization.resolve(value, { scope, resolver: finder, preparing: false });
  return finder.found;
}

class ReferenceFinder extends DefaultTokenResolver {
  public found = false;

  constructor(private readonly stack: Stack) {
    super(new StringConcat());
  }

  public resolveToken(token: IResolvable, context: IResolveContext, postProcessor: IPostProcessor): unknown {
    if (Reference.isReference(token) && Stack.of(token.target) === this.stack) { this.found = true; }
    return super.resolveToken(token, context, postProcessor);
  }
}
