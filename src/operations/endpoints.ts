/** Where agents with these settings reach what they follow: the members of etcd, and the host of the repository. */
import type { ControlEndpoint } from "../model/lifeline.js";
import { parseHostPort, type Settings } from "./settings.js";

/** The ports of the schemes that git speaks, where the URL names none. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = { "https:": 443, "http:": 80, "ssh:": 22, "git:": 9418 };

/** git's short form: `user@host:path`. */
const SCP_LIKE = /^(?:[\w.-]+@)?([\w.-]+):(?!\/\/)/;

export function controlEndpoints({
  store,
  source,
}: Partial<Pick<Settings, "store" | "source">>): readonly ControlEndpoint[] {
  const members = store?.kind === "etcd" ? store.endpoints : [];
  const stores = members.flatMap((member): readonly ControlEndpoint[] => {
    const parsed = parseHostPort(member);
    return parsed === null ? [] : [{ role: "store", ...parsed }];
  });
  const repository = source === null || source === undefined ? null : hostOf(source.url);
  return repository === null ? stores : [...stores, { role: "source", ...repository }];
}

/** Null for a repository on this machine's disk. */
function hostOf(url: string): { readonly host: string; readonly port: number } | null {
  if (!URL.canParse(url) || !url.includes("://")) {
    const host = SCP_LIKE.exec(url)?.[1];
    return host === undefined ? null : { host, port: 22 };
  }
  const { protocol, hostname, port } = new URL(url);
  const known = port === "" ? DEFAULT_PORTS[protocol] : Number(port);
  return hostname === "" || known === undefined ? null : { host: hostname.replace(/^\[|\]$/g, ""), port: known };
}
