import { totalmem } from 'node:os';

const MIB = 1024 * 1024;
/** As the library gives it to a pod, for a process without a limit of its own. */
const POD_BY_DEFAULT = 256 * MIB;
/** A pod beyond this share of its memory is close to its end: what the runtime gives back late must fit into the rest. */
const SHARE_OF_POD = 0.7;
/** An API without requests. */
const IDLE = 100 * MIB;
/** The least that requests get, in a pod that is hardly larger than the idle program. */
const LEAST_SHARE = 0.1;

/** An open connection without a request, as measured with thousands. */
const BYTES_OF_CONNECTION = 12 * 1024;
/** An order in the waiting line of the intake, beside its request. */
const BYTES_OF_ORDER = 5 * 1024;

/** The most that the requests of one API process may hold, so that its pod survives any number of them. */
export interface MemoryBudget {
  /** Estimated bytes of the requests in work. */
  readonly bytesInFlight: number;
  /** Orders that wait for their commit. */
  readonly waitingOrders: number;
  /** Open connections. */
  readonly connections: number;
}

/** The limits that follow from the memory of the pod, in bytes. */
export function memoryBudget(pod = memoryOfPod()): MemoryBudget {
  const free = Math.max(pod * SHARE_OF_POD - IDLE, pod * LEAST_SHARE);
  return {
    bytesInFlight: Math.floor(free * 0.5),
    waitingOrders: Math.floor(free * 0.2 / BYTES_OF_ORDER),
    connections: Math.floor(free * 0.3 / BYTES_OF_CONNECTION),
  };
}

/** The memory limit of the container, in bytes. */
function memoryOfPod(): number {
  // Without a limit it is 0, or more than any machine has.
  const limit = process.constrainedMemory();
  return limit > 0 && limit <= totalmem() ? limit : POD_BY_DEFAULT;
}
