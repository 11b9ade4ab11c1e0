/**
 * Loaded into each process of the tests. With --test-force-exit one ends before all of its report has gone through the pipe, and
 * tests are missing in the summary (https://github.com/nodejs/node/issues/64833); a pipe that blocks takes all of it.
 */
interface Piped {
  readonly _handle?: { setBlocking?(blocking: boolean): void };
}

(process.stdout as Piped)._handle?.setBlocking?.(true);

export {};
