/** The hosts that agents with these settings must reach: the members of etcd, and the host of the repository. */
import type { ControlEndpoint } from "../model/management-access.js";
import type { Settings } from "./settings.js";
import { parseHostPort } from "./types.js";

export interface ControlSettings {
  readonly store?: Settings["store"];
  readonly source?: Pick<Settings["source"], "url">;
}

/**
 * Returns the hosts.
 * @param endpointOf returns where git reaches a repository; null for one on this machine's disk
 */
export function controlEndpoints(
  { store, source }: ControlSettings,
  endpointOf: (url: string) => Omit<ControlEndpoint, "role"> | null,
): readonly ControlEndpoint[] {
  const members = store?.kind === "etcd" ? store.endpoints : [];
  const stores = members.flatMap((member): readonly ControlEndpoint[] => {
    const parsed = parseHostPort(member);
    return parsed === null ? [] : [{ role: "store", ...parsed }];
  });
  const url = source?.url ?? null;
  const repository = url === null ? null : endpointOf(url);
  return repository === null ? stores : [...stores, { role: "source", ...repository }];
}
