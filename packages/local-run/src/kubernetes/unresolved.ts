import { UnresolvedError } from '../assembly/intrinsics.ts';

/** Values of a manifest that the template cannot give. Each is an error only where it is really needed. */
export class Unresolved {
  readonly #errors: UnresolvedError[] = [];

  /** The text that stands for such a value. */
  placeholder(error: UnresolvedError): string {
    this.#errors.push(error);
    return `\u27e6${this.#errors.length - 1}\u27e7`;
  }

  /** The first error after a number of them. */
  since(count: number): UnresolvedError | undefined {
    return this.#errors[count];
  }

  get count(): number { return this.#errors.length; }

  /** A value that is really used now. If the template could not give it, this is the error. */
  needed(value: string): string {
    const index = /\u27e6(\d+)\u27e7/.exec(value)?.[1];
    if (index !== undefined) throw this.#errors[Number(index)] ?? new UnresolvedError(`${value} is not known.`);
    return value;
  }
}
