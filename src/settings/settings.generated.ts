/** Generated from schemas/config.schema.json by schemas/generate.mjs; do not edit. The settings by the parts that need them. */
import { SETTINGS } from "./table.generated.js";
import type { Read } from "./read.js";
import { absolutePath, bool, choice, commitId, duration, folder, hostAndPort, integer, listenAddress, nodeName, receivers, socketPath, store, text, type HostAndPort, type Receiver, type StoreUrl } from "./types.js";

export interface VerifySettings {
  /** Absolute path of a file of allowed SSH keys, as `ssh-keygen -Y verify` reads it. Default: none. */
  readonly sshSigners: string | null;
  /** Absolute path of a file of allowed OpenPGP public keys. Default: none. */
  readonly openpgpKeys: string | null;
  /** Full id of a commit: it and its ancestors need no signature, and a commit that is no descendant of it is refused. Default: the first commit that is accepted. */
  readonly since: string | null;
}

export interface ElectionSettings {
  /** How often the heartbeat and leadership are renewed. Default: 1s. */
  readonly heartbeatIntervalMs: number;
  /** How long a silent node counts as healthy, and how long one request to the store may take. Default: 5s. */
  readonly electionTimeoutMs: number;
  /** Lifetime of leadership after its last renewal: the longest time without a leader after one died. Default: 60s. */
  readonly sessionTtlMs: number;
}

export interface HistorySettings {
  /** Number of newest revisions to keep, whatever their age. Default: 1000. */
  readonly keepRevisions: number;
  /** Age up to which revisions are kept, whatever their number. Default: 480h. */
  readonly keepForMs: number;
}

export interface PollHookSettings {
  /** host:port of the endpoint; off for none. Default: off. */
  readonly listen: HostAndPort | null;
  /** Absolute path of a file that contains only the secret of the webhook; nobody but its owner may read it. Default: none. */
  readonly secretFile: string | null;
}

export interface ContainersSettings {
  /** Absolute path of Docker's API socket; off for none. Default: /run/docker.sock. */
  readonly docker: string | null;
  /** Absolute path of podman's API socket; off for none. Default: /run/podman/podman.sock. */
  readonly podman: string | null;
  /** Absolute path of the CRI socket of containerd or CRI-O; off for none. Default: /run/containerd/containerd.sock. */
  readonly cri: string | null;
}

export interface EtcdSettings {
  /** PEM file of the authorities of etcd's certificates. Default: the system's. */
  readonly ca: string | null;
  /** PEM file of the client certificate. Default: none. */
  readonly cert: string | null;
  /** PEM file of its private key. Default: none. */
  readonly key: string | null;
  /** User name, if etcd requires a password. Default: none. */
  readonly user: string | null;
  /** File that contains only the password. Default: none. */
  readonly passwordFile: string | null;
}

export interface SourceSettings {
  /** URL or local path of the Git repository to poll. Default: none. */
  readonly url: string | null;
  /** Branch of the source to follow. Default: the remote's HEAD. */
  readonly branch: string | null;
  /** Folder within the source. Default: its root. */
  readonly path: string | null;
  /** Time between polls, give or take a tenth at random. Default: 60s. */
  readonly intervalMs: number;
  /** Whether the next poll reverts an operator's override to Git's state. Default: true. */
  readonly selfHeal: boolean;
  /** A commit that deletes a larger share of the policies, or of all objects, is held until an operator confirms it. Default: 50. */
  readonly maxDeletePercent: number;
  readonly verify: VerifySettings;
}

export interface SettingValues {
  /** Folder for the mirror of the source and other local state. Default: /var/lib/ztap for root, else ztap in $XDG_STATE_HOME or ~/.local/state. */
  readonly stateDir: string;
  /** file:PATH, a path that begins with /, ./ or ../, etcd://HOST:PORT,HOST:PORT/PREFIX, etcds://… (TLS) or memory:. Default: the state folder. */
  readonly store: StoreUrl;
  /** Lowest severity that is logged to stderr. Default: info. */
  readonly logLevel: "debug" | "info" | "warn" | "error";
  /** How logs are written to stderr; auto: text on a terminal, else one JSON document a line. Default: auto. */
  readonly logFormat: "auto" | "text" | "json";
  /** Name of this node. Default: the host name up to its first dot. */
  readonly node: string;
  /** host:port where other members reach this node. Default: the node's name with the port of listen, or 9470. */
  readonly address: string;
  /** auto, ebpf, pf or none: auto is eBPF on Linux and pf on macOS; none reports but enforces nothing, and is never selected automatically. Default: auto. */
  readonly backend: "auto" | "ebpf" | "pf" | "none";
  /** host:port of /metrics, /healthz and /readyz; off for none. Default: 127.0.0.1:9470. */
  readonly listen: HostAndPort | null;
  /** How often the kernel is compared with the ruleset. Default: 10s. */
  readonly checkIntervalMs: number;
  /** Folder on a BPF file system for pinned programs and maps. Default: /sys/fs/bpf/ztap. */
  readonly pinRoot: string;
  /** Let the agent enforce, and as the leader commit, policies that cut off agents or SSH sessions: see docs/operations.md. Default: false. */
  readonly allowLockout: boolean;
  /** Who is told what became of a commit, as a list of receivers (in the variable: as JSON): see docs/notifications.md. Default: nobody. */
  readonly notify: readonly Receiver[] | null;
  readonly election: ElectionSettings;
  readonly history: HistorySettings;
  readonly pollHook: PollHookSettings;
  readonly containers: ContainersSettings;
  readonly etcd: EtcdSettings;
  readonly source: SourceSettings;
}

/** @throws OperationError `invalid-settings` */
export function readSettings(read: Read): SettingValues {
  return {
    stateDir: read("stateDir", folder),
    store: read("store", store),
    logLevel: read("logLevel", choice(SETTINGS.logLevel.choices)),
    logFormat: read("logFormat", choice(SETTINGS.logFormat.choices)),
    node: read("node", nodeName),
    address: read("address", hostAndPort),
    backend: read("backend", choice(SETTINGS.backend.choices)),
    listen: read("listen", listenAddress),
    checkIntervalMs: read("checkInterval", duration),
    pinRoot: read("pinRoot", absolutePath),
    allowLockout: read("allowLockout", bool),
    notify: read.optional("notify", receivers),
    election: {
      heartbeatIntervalMs: read("heartbeatInterval", duration),
      electionTimeoutMs: read("electionTimeout", duration),
      sessionTtlMs: read("sessionTtl", duration),
    },
    history: {
      keepRevisions: read("keepRevisions", integer(SETTINGS.keepRevisions)),
      keepForMs: read("keepFor", duration),
    },
    pollHook: {
      listen: read("pollHook.listen", listenAddress),
      secretFile: read.optional("pollHook.secretFile", absolutePath),
    },
    containers: {
      docker: read("containers.docker", socketPath),
      podman: read("containers.podman", socketPath),
      cri: read("containers.cri", socketPath),
    },
    etcd: {
      ca: read.optional("etcd.ca", text),
      cert: read.optional("etcd.cert", text),
      key: read.optional("etcd.key", text),
      user: read.optional("etcd.user", text),
      passwordFile: read.optional("etcd.passwordFile", text),
    },
    source: {
      url: read.optional("source.url", text),
      branch: read.optional("source.branch", text),
      path: read.optional("source.path", text),
      intervalMs: read("source.interval", duration),
      selfHeal: read("source.selfHeal", bool),
      maxDeletePercent: read("source.maxDeletePercent", integer(SETTINGS["source.maxDeletePercent"])),
      verify: {
        sshSigners: read.optional("source.verify.sshSigners", absolutePath),
        openpgpKeys: read.optional("source.verify.openpgpKeys", absolutePath),
        since: read.optional("source.verify.since", commitId),
      },
    },
  };
}
