/**
 * Endpoint: returns the host and port where git reaches a repository, for all forms of an address that git knows. Loads
 * nothing of git.
 */
import { existsSync } from "node:fs";

/** The default ports of the schemes that git supports. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = { "https:": 443, "http:": 80, "ssh:": 22, "git:": 9418 };

/** Returns the endpoint; null for a repository on this machine's disk. */
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
 * Returns the host of git's short form for ssh, `user@host:path`; null for any other text. A path with a colon must
 * begin with `./`, unless it exists.
 */
export function scpHost(text: string): string | null {
  const host = /^(?:[\w.-]+@)?([\w.-]+):(?!\/\/)/.exec(text)?.[1];
  return host === undefined || /^[a-z]:[\\/]/i.test(text) || existsSync(text) ? null : host;
}
