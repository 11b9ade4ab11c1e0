import { LOOPBACK } from '../processes/ports.ts';

/** A Service of the manifests, with its ports and those that it has on this machine. */
export interface ServiceAddress {
  readonly name: string;
  readonly ports: ReadonlyMap<number, number>;
}

const SERVICE_URL = /\b(https?:\/\/)([a-z0-9-]+)(?:\.[a-z0-9-]+(?:\.svc(?:\.cluster\.local)?)?)?(?::(\d+))?(?=[/?#]|$)/g;

/** The variables of a program, with addresses of this machine instead of names that resolve in a cluster only. */
export function withServiceAddresses(given: Readonly<Record<string, string>>, services: readonly ServiceAddress[]): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) environment[name] = withServiceAddress(value, services);
  for (const { name, ports } of services) {
    // As Kubernetes does for every Service.
    const prefix = name.toUpperCase().replace(/[^A-Z0-9]/g, '_');
    const [port] = ports.values();
    environment[`${prefix}_SERVICE_HOST`] ??= LOOPBACK;
    if (port !== undefined) environment[`${prefix}_SERVICE_PORT`] ??= String(port);
  }
  return environment;
}

function withServiceAddress(value: string, services: readonly ServiceAddress[]): string {
  return value.replace(SERVICE_URL, (whole, scheme: string, name: string, port: string | undefined) => {
    const service = services.find((candidate) => candidate.name === name);
    const local = service?.ports.get(Number(port ?? (scheme === 'https://' ? 443 : 80)));
    return local === undefined ? whole : `${scheme}${LOOPBACK}:${local}`;
  });
}
