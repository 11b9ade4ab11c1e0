interface Rule { readonly ports: number[]; readonly cidrs: string[] }
interface Egress { readonly egressPorts?: number[]; readonly egressRules?: Rule[] }

/** Limits the ports whose addresses are known, and opens the others to any address. The options of the user only add. */
export function limitedEgress({ egressPorts = [], egressRules = [] }: Egress, own: Egress): Required<Egress> {
  const limited = egressRules.flatMap(({ ports }) => ports);
  return {
    egressPorts: [...egressPorts.filter((port) => !limited.includes(port)), ...own.egressPorts ?? []],
    egressRules: [...egressRules, ...own.egressRules ?? []],
  };
}
