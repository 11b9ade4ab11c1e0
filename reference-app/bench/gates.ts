import type { StageCost } from './measure/stage-costs.ts';

/** A limit that an order may cost at one stage. */
export interface Gate {
  readonly stage: string;
  readonly figure: 'roundTrips' | 'commits' | 'fsyncs' | 'walBytes' | 'queueCalls' | 'processorShare';
  /** The most that one order may cost. For `processorShare`: as a share of the cost of the naive design in the same run. */
  readonly limit: number;
  readonly reason: string;
}

/**
 * Limits of counts, which do not depend on the machine, and of processor time as a share of the naive design's. One more round trip per
 * order is 1.0 more.
 */
export const GATES: readonly Gate[] = [
  { stage: 'intake', figure: 'roundTrips', limit: 0.05, reason: 'one statement stores the orders that wait at the same time: about 60 of 256 clients' },
  { stage: 'intake', figure: 'walBytes', limit: 2_150, reason: 'a tenth above the bytes of order, two lines, status change, event and their index entries' },
  { stage: 'intake', figure: 'processorShare', limit: 0.1, reason: 'measured 1/20 of naive' },
  { stage: 'relay (per event)', figure: 'roundTrips', limit: 0.01, reason: 'pages of 1,000 events, then the cursor once' },
  { stage: 'relay (per event)', figure: 'queueCalls', limit: 0.01, reason: 'PutEvents takes 256 KB, which are four full bundles' },
  { stage: 'relay (per event)', figure: 'processorShare', limit: 0.08, reason: 'measured 1/40 of naive' },
  // A row more per order is 150 bytes of log at least, with its index entry.
  ...Object.entries({
    'stock-service': 1_450, 'inventory-service, reserve': 2_190, 'order-status': 2_400, 'inventory-service, deduct': 2_150,
  }).flatMap(([stage, walBytes]): Gate[] => [
    { stage, figure: 'roundTrips', limit: 0.015, reason: 'a read and a write per batch; a batch is up to 500 events, and hundreds when the queue is full' },
    { stage, figure: 'commits', limit: 0.015, reason: 'the write of a batch is a transaction, and the read counts as one' },
    { stage, figure: 'fsyncs', limit: 0.01, reason: 'at most one per write' },
    { stage, figure: 'walBytes', limit: walBytes, reason: 'a twentieth above the bytes of the rows of an order, their index entries and its event' },
    { stage, figure: 'queueCalls', limit: 0.02, reason: 'a message is a bundle of about 75 events; receives and deletes have up to ten messages' },
    { stage, figure: 'processorShare', limit: 0.1, reason: 'measured 1/19 of naive' },
  ]),
];

export interface GateResult extends Gate {
  readonly value: number;
  readonly ok: boolean;
}

/** Compares the costs with the limits. A limit whose figure was not measured does not hold. */
export function passGates(costs: readonly StageCost[], naive: readonly StageCost[], gates: readonly Gate[] = GATES): GateResult[] {
  return gates.map((gate) => {
    const cost = costs.find(({ stage }) => stage === gate.stage);
    const base = naive.find(({ stage }) => stage === gate.stage);
    const value = gate.figure === 'processorShare' ? (cost?.processor ?? NaN) / (base?.processor ?? NaN) : cost?.[gate.figure] ?? NaN;
    // Processor time is not reported everywhere.
    const unknowable = gate.figure === 'processorShare' && cost && cost.processor === undefined;
    return { ...gate, value, ok: unknowable ? true : value <= gate.limit };
  });
}
