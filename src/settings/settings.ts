/**
 * Settings: flag beats variable beats file beats default. Pure: takes the layers, gives one value or
 * an error that names the setting, where it was set and what was wanted.
 */
import ms from "ms";
import { OperationError } from "../model/operation-error.js";

/** The settings as their layers write them: text, or absent. Keys as in the configuration file, `source.` flattened. */
export const SETTING_KEYS = [
  "store",
  "stateDir",
  "logLevel",
  "logFormat",
  "node",
  "address",
  "backend",
  "listen",
  "checkInterval",
  "heartbeatInterval",
  "electionTimeout",
  "sessionTtl",
  "keepRevisions",
  "keepFor",
  "pinRoot",
  "allowLockout",
  "etcd.ca",
  "etcd.cert",
  "etcd.key",
  "etcd.user",
  "etcd.passwordFile",
  "source.url",
  "source.branch",
  "source.path",
  "source.interval",
  "source.selfHeal",
  "source.maxDeletePercent",
  "source.verify.sshSigners",
  "source.verify.openpgpKeys",
  "source.verify.since",
] as const;
export type SettingKey = (typeof SETTING_KEYS)[number];

export interface SettingsLayer {
  /** `--flags`, `environment` or the name of the configuration file. */
  readonly origin: string;
  readonly values: Readonly<Partial<Record<SettingKey, string>>>;
}

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

/** Files and names that prove who we are to etcd; paths are not read here. */
export interface EtcdSettings {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  readonly user: string | null;
  readonly passwordFile: string | null;
}

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const LOG_FORMATS = ["auto", "text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export const BACKENDS = ["auto", "ebpf", "pf", "none"] as const;
export type Backend = (typeof BACKENDS)[number];

export interface SourceSettings {
  readonly url: string;
  readonly branch: string | null;
  readonly path: string | null;
  readonly intervalMs: number;
  readonly selfHeal: boolean;
}

/** Who has to have signed the commits of a repository. */
export interface VerifySettings {
  /** Paths of files; at least one is there. */
  readonly sshSigners: string | null;
  readonly openpgpKeys: string | null;
  /** Full id of the commit from which on; null for from the first one that is accepted. */
  readonly since: string | null;
}

export interface Settings {
  readonly store: StoreUrl;
  readonly stateDir: string;
  readonly logLevel: LogLevel;
  /** `auto`: text on a terminal, else JSON. */
  readonly logFormat: LogFormat;
  readonly node: string;
  /** False where the machine's host name was taken. */
  readonly isNodeNamed: boolean;
  readonly address: string;
  readonly backend: Backend;
  readonly listen: { readonly host: string; readonly port: number } | null;
  readonly checkIntervalMs: number;
  readonly heartbeatIntervalMs: number;
  readonly electionTimeoutMs: number;
  readonly sessionTtlMs: number;
  /** The leader removes revisions that are beyond both of these. */
  readonly keepRevisions: number;
  readonly keepForMs: number;
  readonly pinRoot: string;
  /** Whether a policy may cut agents off, or SSH sessions in use. */
  readonly allowLockout: boolean;
  readonly etcd: EtcdSettings;
  readonly source: SourceSettings | null;
  /** Folder within a repository, also for one that is named on the command line. */
  readonly sourcePath: string | null;
  /** Also for a repository that is named on the command line; null where commits need no signature. */
  readonly verify: VerifySettings | null;
  /** The largest share of the policies, or of all objects, that a commit deletes without being held. */
  readonly maxDeletePercent: number;
}

/** What the defaults depend on. */
export interface Machine {
  readonly isRoot: boolean;
  readonly hostname: string;
  readonly home: string;
  readonly xdgStateHome: string | undefined;
}

/** The port of an agent that is not told another. */
const AGENT_PORT = 9470;

/** What holds where nothing is set, as it would be written. The rest follows from the machine, or is left out. */
const DEFAULTS = {
  logLevel: "info",
  logFormat: "auto",
  backend: "auto",
  listen: `127.0.0.1:${AGENT_PORT}`,
  checkInterval: "10s",
  heartbeatInterval: "1s",
  electionTimeout: "5s",
  sessionTtl: "60s",
  keepRevisions: "1000",
  keepFor: "480h",
  pinRoot: "/sys/fs/bpf/ztap",
  allowLockout: "false",
  "source.interval": "60s",
  "source.selfHeal": "true",
  "source.maxDeletePercent": "50",
} as const satisfies Partial<Record<SettingKey, string>>;

/** The default of each setting, for people. */
export const DEFAULT_TEXTS: Readonly<Record<SettingKey, string>> = {
  ...DEFAULTS,
  store: "the state folder",
  stateDir: "/var/lib/ztap for root, else ztap in $XDG_STATE_HOME or ~/.local/state",
  node: "the host name up to its first dot",
  address: `the node's name with the port of listen, or ${AGENT_PORT}`,
  "etcd.ca": "the system's",
  "etcd.cert": "none",
  "etcd.key": "none",
  "etcd.user": "none",
  "etcd.passwordFile": "none",
  "source.url": "none",
  "source.branch": "the remote's HEAD",
  "source.path": "all of it",
  "source.verify.sshSigners": "none",
  "source.verify.openpgpKeys": "none",
  "source.verify.since": "the first commit that is accepted",
};

const SHORT_VARIABLES: Readonly<Partial<Record<SettingKey, string>>> = {
  "source.url": "ZTAP_SOURCE",
  "source.branch": "ZTAP_BRANCH",
};

/** The `ZTAP_*` variable of a setting, named as its flag: `source.selfHeal` → `ZTAP_SOURCE_SELF_HEAL`, `source.url` (--source) → `ZTAP_SOURCE`. */
export function variableOf(key: SettingKey): string {
  return (
    SHORT_VARIABLES[key] ??
    `ZTAP_${key
      .replace(/\./g, "_")
      .replace(/([a-z])([A-Z])/g, "$1_$2")
      .toUpperCase()}`
  );
}

/** @param layers strongest first @throws OperationError `invalid-settings` */
export function resolveSettings(layers: readonly SettingsLayer[], machine: Machine): Settings {
  const read = createReader(layers);
  const stateDir = read("stateDir", defaultStateDir(machine), (text) => text);
  const node = read("node", defaultNode(machine.hostname), nodeName);
  const listen = read("listen", DEFAULTS.listen, listenAddress);
  const store = read("store", `file:${stateDir}`, storeUrl);
  return {
    store,
    stateDir,
    logLevel: read("logLevel", DEFAULTS.logLevel, oneOf(LOG_LEVELS)),
    logFormat: read("logFormat", DEFAULTS.logFormat, oneOf(LOG_FORMATS)),
    node,
    isNodeNamed: layers.some(({ values }) => values.node !== undefined),
    // Port 0 is any that is free, which nobody knows before it is bound.
    address: read("address", `${node}:${listen?.port || AGENT_PORT}`, hostAndPort),
    backend: read("backend", DEFAULTS.backend, oneOf(BACKENDS)),
    listen,
    checkIntervalMs: read("checkInterval", DEFAULTS.checkInterval, duration),
    ...readTimes(read),
    keepRevisions: read("keepRevisions", DEFAULTS.keepRevisions, count),
    keepForMs: read("keepFor", DEFAULTS.keepFor, duration),
    pinRoot: read("pinRoot", DEFAULTS.pinRoot, absolutePath),
    allowLockout: read("allowLockout", DEFAULTS.allowLockout, oneOf(["true", "false"])) === "true",
    etcd: readEtcd(read, store),
    source: readSource(read),
    sourcePath: optionalText(read, "source.path"),
    verify: readVerify(read),
    maxDeletePercent: read("source.maxDeletePercent", DEFAULTS["source.maxDeletePercent"], percent),
  };
}

type Reader = <T>(key: SettingKey, fallback: string, parse: (text: string) => T | Wanted) => T;

/** What was wanted, where a text could not be read as a setting. */
class Wanted {
  constructor(readonly wanted: string) {}
}

/** No setting can be this: neither a variable nor a line of a file holds a NUL. */
const UNSET = "\0";

function createReader(layers: readonly SettingsLayer[]): Reader {
  return (key, fallback, parse) => {
    const layer = layers.find(({ values }) => values[key] !== undefined);
    const text = layer?.values[key] ?? fallback;
    const value = parse(text);
    if (value instanceof Wanted) throw invalid(key, layer?.origin ?? "default", text, value.wanted);
    return value;
  };
}

function invalid(key: string, origin: string, found: string, wanted: string): OperationError {
  // What is wrong may hold a password, and goes to logs.
  const shown = found.replace(/\/\/[^/\s]*@/, "//…@");
  return new OperationError("invalid-settings", `${key} (${origin}): found ${JSON.stringify(shown)}, wanted ${wanted}`);
}

function readTimes(read: Reader): Pick<Settings, "heartbeatIntervalMs" | "electionTimeoutMs" | "sessionTtlMs"> {
  const heartbeatIntervalMs = read("heartbeatInterval", DEFAULTS.heartbeatInterval, duration);
  const electionTimeoutMs = read("electionTimeout", DEFAULTS.electionTimeout, duration);
  const sessionTtlMs = read("sessionTtl", DEFAULTS.sessionTtl, duration);
  for (const [key, found] of [["electionTimeout", electionTimeoutMs] as const, ["sessionTtl", sessionTtlMs] as const]) {
    if (found < 2 * heartbeatIntervalMs)
      throw invalid(key, "settings", `${found} ms`, `at least twice heartbeatInterval (${heartbeatIntervalMs} ms)`);
  }
  return { heartbeatIntervalMs, electionTimeoutMs, sessionTtlMs };
}

function readEtcd(read: Reader, store: StoreUrl): EtcdSettings {
  const etcd = {
    ca: optionalText(read, "etcd.ca"),
    cert: optionalText(read, "etcd.cert"),
    key: optionalText(read, "etcd.key"),
    user: optionalText(read, "etcd.user"),
    passwordFile: optionalText(read, "etcd.passwordFile"),
  };
  const together = (a: "cert" | "key" | "user" | "passwordFile", b: typeof a): void => {
    if (etcd[a] !== null && etcd[b] === null)
      throw invalid(`etcd.${b}`, "settings", "", `a value, since etcd.${a} is set`);
  };
  together("cert", "key");
  together("key", "cert");
  together("user", "passwordFile");
  together("passwordFile", "user");
  const isPlain = store.kind === "etcd" && !store.tls;
  if (isPlain && (etcd.ca !== null || etcd.cert !== null))
    throw invalid("store", "settings", "etcd://", "etcds://, since etcd.ca or etcd.cert is set");
  return etcd;
}

function readSource(read: Reader): SourceSettings | null {
  const url = optionalText(read, "source.url");
  // What is wrong with the others is told also where they say nothing yet.
  const others = {
    branch: optionalText(read, "source.branch"),
    path: optionalText(read, "source.path"),
    intervalMs: read("source.interval", DEFAULTS["source.interval"], duration),
    selfHeal: read("source.selfHeal", DEFAULTS["source.selfHeal"], oneOf(["true", "false"])) === "true",
  };
  return url === null ? null : { url, ...others };
}

/** Set and empty would be a check that is not made. */
function readVerify(read: Reader): VerifySettings | null {
  const file = (key: SettingKey): string | null => (isSet(read, key) ? read(key, "", absolutePath) : null);
  const sshSigners = file("source.verify.sshSigners");
  const openpgpKeys = file("source.verify.openpgpKeys");
  const since = isSet(read, "source.verify.since") ? read("source.verify.since", "", commitId) : null;
  if (sshSigners !== null || openpgpKeys !== null) return { sshSigners, openpgpKeys, since };
  if (since !== null)
    throw invalid("source.verify", "settings", since, "sshSigners or openpgpKeys besides since: who may sign");
  return null;
}

function isSet(read: Reader, key: SettingKey): boolean {
  return read(key, UNSET, (text) => text) !== UNSET;
}

function optionalText(read: Reader, key: SettingKey): string | null {
  return read(key, "", (text) => (text === "" ? null : text));
}

function defaultStateDir({ isRoot, home, xdgStateHome }: Machine): string {
  // The XDG base directory specification: a path that is empty or not absolute is as good as none.
  const base = xdgStateHome?.startsWith("/") === true ? xdgStateHome : `${home}/.local/state`;
  return isRoot ? "/var/lib/ztap" : `${base}/ztap`;
}

/** A host name may hold what the name of a node may not; no command should fail for that. */
function defaultNode(hostname: string): string {
  const name = (hostname.split(".", 1)[0] ?? "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 63)
    .replace(/^-|-$/g, "");
  return name === "" ? "localhost" : name;
}

function oneOf<const T extends string>(words: readonly T[]): (text: string) => T | Wanted {
  return (text) => words.find((word) => word === text) ?? new Wanted(`one of ${words.join(", ")}`);
}

export function isNodeName(text: string): boolean {
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text);
}

function nodeName(text: string): string | Wanted {
  return isNodeName(text) ? text : new Wanted("a DNS label");
}

function absolutePath(text: string): string | Wanted {
  return text.startsWith("/") ? text : new Wanted("an absolute path");
}

function duration(text: string): number | Wanted {
  const wanted = new Wanted("a number with its unit, such as 500ms, 10s, 5m or 1h, from 1ms to 24 days");
  if (!isDuration(text)) return wanted;
  const value = ms(text);
  return value >= 1 && value <= 2 ** 31 - 1 ? value : wanted;
}

/** A time that is no setting. @param what names it, as `--for` @throws OperationError `usage` */
export function parseDuration(what: string, text: string): number {
  const value = duration(text);
  if (value instanceof Wanted)
    throw new OperationError("usage", `${what}: found ${JSON.stringify(text)}, wanted ${value.wanted}`);
  return value;
}

function isDuration(text: string): text is ms.StringValue {
  return /^[0-9]+(\.[0-9]+)?(ms|s|m|h)$/.test(text);
}

function commitId(text: string): string | Wanted {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text) ? text : new Wanted("the full id of a commit");
}

function percent(text: string): number | Wanted {
  return /^(100|[1-9]?[0-9])$/.test(text) ? Number(text) : new Wanted("a whole number from 0 to 100");
}

/** What `store` takes, for people. */
export const STORE_FORMS =
  "file:PATH, a path that begins with /, ./ or ../, etcd://HOST:PORT,HOST:PORT/PREFIX, etcds://… (TLS) or memory:";

/** A path may stand for itself where it cannot be taken for anything else. */
function count(text: string): number | Wanted {
  return /^[1-9][0-9]{0,8}$/.test(text) ? Number(text) : new Wanted("a whole number from 1");
}

function storeUrl(text: string): StoreUrl | Wanted {
  if (text === "memory:") return { kind: "memory" };
  const etcd = /^(etcds?):\/\/([^/?#\s]+)(?:\/([^?#\s]*))?$/.exec(text);
  if (etcd !== null) return etcdUrl(etcd[1] === "etcds", etcd[2] ?? "", etcd[3] ?? "");
  const isPath = /^\.{0,2}\//.test(text);
  const path = isPath ? text : text.startsWith("file:") ? text.slice("file:".length).replace(/^\/\/(?=\/)/, "") : "";
  // A host would be read as part of the path otherwise.
  return path === "" || path.startsWith("//") ? new Wanted(STORE_FORMS) : { kind: "file", path };
}

/** Without a port: 2379. Without a prefix: `ztap`. A password in a URL would show in every list of processes. */
function etcdUrl(tls: boolean, hosts: string, path: string): StoreUrl | Wanted {
  const endpoints = hosts.split(",").map((host) => (/:[0-9]{1,5}$/.test(host) ? host : `${host}:2379`));
  if (hosts.includes("@")) return new Wanted("no user in the URL: set etcd.user and etcd.passwordFile");
  if (!endpoints.every((endpoint) => parseHostPort(endpoint) !== null))
    return new Wanted("host:port or [IPv6]:port, separated by commas");
  const prefix = path.replace(/\/+$/, "");
  if (!/^[A-Za-z0-9._-]*(\/[A-Za-z0-9._-]+)*$/.test(prefix))
    return new Wanted("a prefix of letters, digits, . _ - and /");
  return { kind: "etcd", tls, endpoints, prefix: `${prefix === "" ? "ztap" : prefix}/` };
}

function listenAddress(text: string): Settings["listen"] | Wanted {
  if (text === "off") return null;
  return parseHostPort(text) ?? new Wanted("host:port, [IPv6]:port or off");
}

export function isHostAndPort(text: string): boolean {
  return parseHostPort(text) !== null;
}

function hostAndPort(text: string): string | Wanted {
  return isHostAndPort(text) ? text : new Wanted("host:port or [IPv6]:port");
}

export function parseHostPort(text: string): { readonly host: string; readonly port: number } | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  return host === undefined || port > 65535 ? null : { host, port };
}
