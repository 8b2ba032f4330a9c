/** Where agents with these settings reach what they follow: the members of etcd, and the host of the repository. */
import type { ControlEndpoint } from "../model/management-access.js";
import { parseHostPort, type Settings } from "./settings.js";

/** @param endpointOf where git asks for a repository; null for one on this machine's disk */
export function controlEndpoints(
  { store, source }: Partial<Pick<Settings, "store" | "source">>,
  endpointOf: (url: string) => Omit<ControlEndpoint, "role"> | null,
): readonly ControlEndpoint[] {
  const members = store?.kind === "etcd" ? store.endpoints : [];
  const stores = members.flatMap((member): readonly ControlEndpoint[] => {
    const parsed = parseHostPort(member);
    return parsed === null ? [] : [{ role: "store", ...parsed }];
  });
  const repository = source === null || source === undefined ? null : endpointOf(source.url);
  return repository === null ? stores : [...stores, { role: "source", ...repository }];
}
