/**
 * The types of settings: each function reads a text and returns the value, or a description of valid ones. The schema
 * names these functions in `x-type`. Pure.
 */
import ms from "ms";
import { isLabel } from "../model/guards.js";
import type { Receiver } from "../model/receiver.js";
import { OperationError } from "../model/operation-error.js";
import { parseReceivers, WrongReceiver } from "./receivers.js";
import { SETTINGS } from "./table.generated.js";

/** The result for a text that is not valid: a description of valid ones. */
export class Wanted {
  constructor(readonly wanted: string) {}
}

export type Parse<T> = (text: string) => T | Wanted;

export type StoreUrl =
  | { readonly kind: "memory" }
  | { readonly kind: "file"; readonly path: string }
  | {
      readonly kind: "etcd";
      readonly tls: boolean;
      /** `host:port`. */
      readonly endpoints: readonly string[];
      /** Ends with a slash. */
      readonly prefix: string;
    };

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

export function choice<const T extends string>(words: readonly T[]): Parse<T> {
  return (text) => words.find((word) => word === text) ?? new Wanted(`one of ${words.join(", ")}`);
}

export function integer({ minimum, maximum }: { readonly minimum: number; readonly maximum: number }): Parse<number> {
  return (text) => {
    const value = /^(0|[1-9][0-9]*)$/.test(text) ? Number(text) : NaN;
    return value >= minimum && value <= maximum ? value : new Wanted(`a whole number from ${minimum} to ${maximum}`);
  };
}

/** Reads a boolean from the words that oclif accepts in the variables of its flags. */
export function bool(text: string): boolean | Wanted {
  if (/^(true|1|yes|y)$/i.test(text)) return true;
  return /^(false|0|no|n)$/i.test(text) ? false : new Wanted("true or false");
}

/** Reads a text; an empty one counts as not set. */
export function text(found: string): string | null {
  return found === "" ? null : found;
}

export function folder(found: string): string | Wanted {
  return found === "" ? new Wanted("the path of a folder") : found;
}

export function absolutePath(found: string): string | Wanted {
  return found.startsWith("/") ? found : new Wanted("an absolute path");
}

/** Reads the path of a socket; `off` for none. */
export function socketPath(found: string): string | null | Wanted {
  if (found === "off") return null;
  return found.startsWith("/") ? found : new Wanted("an absolute path, or off");
}

export function nodeName(found: string): string | Wanted {
  return isLabel(found) ? found : new Wanted("a DNS label");
}

export function commitId(found: string): string | Wanted {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(found) ? found : new Wanted("the full id of a commit");
}

export function duration(found: string): number | Wanted {
  const wanted = new Wanted("a number with its unit, such as 500ms, 10s, 5m or 1h, from 1ms to 24 days");
  if (!isDuration(found)) return wanted;
  const value = ms(found);
  return value >= 1 && value <= 2 ** 31 - 1 ? value : wanted;
}

function isDuration(found: string): found is ms.StringValue {
  return /^[0-9]+(\.[0-9]+)?(ms|s|m|h)$/.test(found);
}

/**
 * Reads a duration that is not a setting.
 * @param what its name, such as `--for`
 * @throws OperationError `usage`
 */
export function parseDuration(what: string, found: string): number {
  const value = duration(found);
  if (value instanceof Wanted)
    throw new OperationError("usage", `${what}: found ${JSON.stringify(found)}, wanted ${value.wanted}`);
  return value;
}

export type { Receiver } from "../model/receiver.js";

/** Reads a list of receivers, as JSON. */
export function receivers(found: string): readonly Receiver[] | Wanted {
  const list = parseReceivers(found);
  return list instanceof WrongReceiver ? new Wanted(list.wanted) : list;
}

export function parseHostPort(found: string): HostAndPort | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})$/.exec(found);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  return host === undefined || port > 65535 ? null : { host, port };
}

export function isHostAndPort(found: string): boolean {
  return parseHostPort(found) !== null;
}

export function hostAndPort(found: string): string | Wanted {
  return isHostAndPort(found) ? found : new Wanted("host:port or [IPv6]:port");
}

/** Reads an address to listen on; null for `off`. */
export function listenAddress(found: string): HostAndPort | null | Wanted {
  if (found === "off") return null;
  return parseHostPort(found) ?? new Wanted("host:port, [IPv6]:port or off");
}

/** Reads a store URL. A path needs no `file:` if it cannot be anything else. */
export function store(found: string): StoreUrl | Wanted {
  if (found === "memory:") return { kind: "memory" };
  const etcd = /^(etcds?):\/\/([^/?#\s]+)(?:\/([^?#\s]*))?$/.exec(found);
  if (etcd !== null) return etcdUrl(etcd[1] === "etcds", etcd[2] ?? "", etcd[3] ?? "");
  const isPath = /^\.{0,2}\//.test(found);
  const path = isPath ? found : found.startsWith("file:") ? found.slice("file:".length).replace(/^\/\/(?=\/)/, "") : "";
  // Otherwise a host would be read as part of the path.
  return path === "" || path.startsWith("//") ? new Wanted(SETTINGS.store.help) : { kind: "file", path };
}

/**
 * Reads an etcd URL. Without a port: 2379. Without a prefix: `ztap`. A password in a URL is refused: it would show in
 * every list of processes.
 */
function etcdUrl(tls: boolean, hosts: string, path: string): StoreUrl | Wanted {
  const endpoints = hosts.split(",").map((host) => (/:[0-9]{1,5}$/.test(host) ? host : `${host}:2379`));
  if (hosts.includes("@")) return new Wanted("no user in the URL: set etcd.user and etcd.passwordFile");
  if (!endpoints.every(isHostAndPort)) return new Wanted("host:port or [IPv6]:port, separated by commas");
  const prefix = path.replace(/(?<!\/)\/+$/, "");
  if (!/^[A-Za-z0-9._-]*(\/[A-Za-z0-9._-]+)*$/.test(prefix))
    return new Wanted("a prefix of letters, digits, . _ - and /");
  return { kind: "etcd", tls, endpoints, prefix: `${prefix === "" ? "ztap" : prefix}/` };
}
