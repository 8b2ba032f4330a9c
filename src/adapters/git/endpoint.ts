/** Endpoint: which host and port git asks for a repository, by the forms of an address that git knows. Loads nothing of git. */
import { existsSync } from "node:fs";

/** The ports of the schemes that git speaks, where the URL names none. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = { "https:": 443, "http:": 80, "ssh:": 22, "git:": 9418 };

/** Null for a repository on this machine's disk. */
export function remoteEndpoint(text: string): { readonly host: string; readonly port: number } | null {
  if (!URL.canParse(text) || !text.includes("://")) {
    const host = scpHost(text);
    return host === null ? null : { host, port: 22 };
  }
  const { protocol, hostname, port } = new URL(text);
  const known = port === "" ? DEFAULT_PORTS[protocol] : Number(port);
  return hostname === "" || known === undefined ? null : { host: hostname.replace(/^\[|\]$/g, ""), port: known };
}

/**
 * The host of git's own short form for ssh, `user@host:path`; null for any other text. A path that holds a colon has to be
 * written with `./` before it, unless it is there.
 */
export function scpHost(text: string): string | null {
  const host = /^(?:[\w.-]+@)?([\w.-]+):(?!\/\/)/.exec(text)?.[1];
  return host === undefined || /^[a-z]:[\\/]/i.test(text) || existsSync(text) ? null : host;
}
