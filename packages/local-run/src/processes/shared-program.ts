import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Leftovers } from './leftovers.ts';
import { RunningProgram } from './program.ts';
import type { Program } from './program.ts';
import type { ContainerSpec, WorkloadSpec } from './specs.ts';

/** One member, as the program that hosts it reads it. */
interface Member {
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
}

interface Start {
  readonly members: Member[];
  readonly program: PromiseWithResolvers<RunningProgram>;
}

/** The variable with the members, a list in JSON. */
const PROGRAMS = 'SHARED_PROGRAMS';

/**
 * One process for the programs of several containers. It starts when all of them are ready, and its end is the end of all. The file
 * that it runs is of the app, in the folder of the programs: it gets their names and variables, and has to start all of them.
 */
export class SharedProgram {
  readonly logFile: string;
  readonly #host: string;
  readonly #size: number;
  #next: Start = newStart();

  /**
   * @param host the name of the file
   * @param size the number of members
   */
  constructor(host: string, size: number, logFile: string) {
    this.#host = host;
    this.#size = size;
    this.logFile = logFile;
  }

  /** Waits for the other members. */
  start({ command, folder, environment }: Omit<Program, 'logFile'>, leftovers: Leftovers): Promise<RunningProgram> {
    const start = this.#next;
    start.members.push({ program: command[1]!, environment });
    if (start.members.length === this.#size) {
      this.#next = newStart();
      const variables = { ...common(start.members), [PROGRAMS]: JSON.stringify(start.members) };
      start.program.resolve(new RunningProgram({ command: ['node', this.#host], folder, environment: variables, logFile: this.logFile }, leftovers));
    }
    return start.program.promise;
  }
}

function newStart(): Start {
  return { members: [], program: Promise.withResolvers() };
}

/** The variables that all of them have: those of Node.js have to be there before a program runs. */
function common([first, ...others]: readonly Member[]): Record<string, string> {
  const isCommon = ([name, value]: [string, string]) => others.every(({ environment }) => environment[name] === value);
  return Object.fromEntries(Object.entries(first!.environment).filter(isCommon));
}

/** Whether it can be a member: a container alone that runs a file of Node.js beside the host, and that nobody supervises. */
export function canShare({ kind, replicas, pod }: WorkloadSpec, host: string): boolean {
  const [container, ...others] = pod.containers;
  return kind === 'Deployment' && replicas === 1 && pod.initContainers.length === 0 && others.length === 0 && container !== undefined
    && runsFile(container) && container.supervise === undefined && existsSync(join(container.folder, host));
}

function runsFile({ command }: ContainerSpec): boolean {
  return command.length === 2 && command[0] === 'node' && /^[^-]/.test(command[1]!);
}
