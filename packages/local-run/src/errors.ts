/** An error that the user of the run can put right. Its message is one sentence for the screen, without a stack trace. */
export class LocalRunError extends Error {
  override readonly name: string = 'LocalRunError';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
