// Loaded into each process of the tests. With --test-force-exit one ends before all of its report has gone through the pipe, and tests are
// missing in the summary (https://github.com/nodejs/node/issues/64833). A pipe that blocks takes all of it.
process.stdout._handle?.setBlocking?.(true);
