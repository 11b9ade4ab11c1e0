import type { DispatchThread } from './dispatch-thread.ts';
import type { FunctionDefinition, FunctionError } from './types.ts';
import { LOOPBACK } from '../processes/ports.ts';
import type { Life, Supervisor } from '../processes/specs.ts';

/** AWS gives the code of a function ten seconds to load; a machine that starts a whole system at once is slower. */
const LOAD_SECONDS = 30;

/** Connects one process of a function with its environment in the thread. */
export class FunctionSupervisor implements Supervisor {
  readonly #thread: DispatchThread;
  readonly #fn: FunctionDefinition;
  readonly #replica: number;
  readonly #describe: (error: FunctionError) => string;
  #patience: NodeJS.Timeout | undefined;

  constructor(thread: DispatchThread, fn: FunctionDefinition, replica: number, describe: (error: FunctionError) => string) {
    this.#thread = thread;
    this.#fn = fn;
    this.#replica = replica;
    this.#describe = describe;
  }

  async begin(life: Life): Promise<Record<string, string>> {
    const { name, title } = this.#fn;
    const port = await this.#thread.open(name, this.#replica, (event) => {
      if (event.kind === 'write') return life.write(event.line);
      if (event.kind === 'timedOut') return life.end();
      clearTimeout(this.#patience);
      if (event.kind === 'initError') life.failed(this.#describe(event.error));
      else life.ready();
    });
    this.#patience = setTimeout(() => life.failed(`${title} is not loaded after ${LOAD_SECONDS} s: the code of its module does not come to an end.`), LOAD_SECONDS * 1000);
    this.#patience.unref();
    return { AWS_LAMBDA_RUNTIME_API: `${LOOPBACK}:${port}` };
  }

  ended(): void {
    clearTimeout(this.#patience);
    this.#thread.ended(this.#fn.name, this.#replica);
  }

  async drain(): Promise<void> {
    await this.#thread.drain(this.#fn.name);
  }
}
