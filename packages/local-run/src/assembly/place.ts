import type { Assembly } from './assembly.ts';

/** One machine is one account and one region: those of the first stack that names them. */
export function placeOf(assembly: Assembly, warn: (sentence: string) => void): { account: string; region: string } {
  const account = assembly.stacks.find((stack) => stack.account !== undefined)?.account ?? '000000000000';
  const region = assembly.stacks.find((stack) => stack.region !== undefined)?.region ?? 'us-east-1';
  for (const stack of assembly.stacks) {
    if ((stack.account ?? account) === account && (stack.region ?? region) === region) continue;
    const other = `account ${stack.account ?? account} in ${stack.region ?? region}`;
    warn(`Stack ${stack.name} is made for ${other}; the local run takes it to ${account} in ${region}, with the other stacks.`);
  }
  return { account, region };
}
