/** ProcessDiscovery where processes cannot be found: it knows the machine's addresses, and says what it cannot. */
import type { FoundProcesses, ProcessDiscovery, WantedProcesses } from "../../interfaces/discovery.js";
import { nodeAddresses } from "./node-addresses.js";

export class AddressDiscovery implements ProcessDiscovery {
  /** @param os see ProcessDiscovery */
  constructor(readonly os: string) {}

  discover(wanted: readonly WantedProcesses[]): Promise<FoundProcesses> {
    const { os } = this;
    const names = wanted.map(({ workload }) => workload).join(", ");
    const problems =
      wanted.length === 0 ? [] : [`this version of ztap finds no processes on ${os}: ${names} have no instance here`];
    return Promise.resolve({ os, addresses: nodeAddresses(), instances: [], problems });
  }

  async *watch(signal: AbortSignal): AsyncGenerator<undefined, void, undefined> {
    yield undefined;
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }
}
