/**
 * The only place that puts adapters behind ports. Adapters are imported where they are first used,
 * so that a command pays only for what it needs.
 */
import { readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { GitSource } from "../adapters/git/source.js";
import type { Scaffolded } from "../adapters/git/scaffold.js";
import { makeFolder } from "../adapters/system/folder.js";
import { systemClock, systemRandom } from "../adapters/system/clock.js";
import { ProcLifelines } from "../adapters/system/management-access.js";
import { EBPF_CAPACITY } from "../adapters/ebpf/lower/capacity.js";
import { PF_CAPACITY } from "../adapters/pf/render/limits.js";
import type { ManifestFile, Manifests, ReadOptions } from "../manifest/read.js";
import { readManifests as readUnbounded } from "../manifest/read.js";
import { hasErrors } from "../model/diagnostic.js";
import { messageInWords } from "../model/system-error.js";
import type { AgentDeps, AgentOptions } from "../reconcile/agent.js";
import { remoteEndpoint } from "../adapters/git/endpoint.js";
import { controlEndpoints, type ControlSettings } from "../settings/control-endpoints.js";
import { OperationError } from "../model/operation-error.js";
import type { GitReading } from "../operations/policy/report.js";
import type { Settings } from "../settings/settings.js";
import { withStore } from "./store.js";
import type { Check } from "../model/doctor.js";
import type { Enforcer } from "../interfaces/enforcer.js";
import type { LifelineReader } from "../interfaces/management-access.js";
import type { BaseSource, Source } from "../interfaces/source.js";
import { SourceError } from "../interfaces/source.js";
import type { Store } from "../interfaces/store.js";
import type { Logger } from "../interfaces/system.js";

export { systemClock, systemRandom };

/**
 * What this machine is ruled through; null where it may be cut, or cannot be enforced anyway. Without settings (a
 * program's own store) nothing is known of where other agents reach theirs.
 */
export function openLifelines({
  allowLockout,
  ...where
}: Pick<Settings, "allowLockout"> & ControlSettings): LifelineReader | null {
  return allowLockout || process.platform !== "linux"
    ? null
    : new ProcLifelines(controlEndpoints(where, remoteEndpoint));
}

/** Names this boot of this machine, as its agent's status does. */
export async function readBootId(): Promise<string | null> {
  const { bootId } = await import("../adapters/system/process-identity.js");
  return bootId();
}

/** What every command and the leader read by: a state that no node could enforce is refused like any other mistake. */
export function readManifests(files: readonly ManifestFile[], options: ReadOptions = {}): Manifests {
  return readUnbounded(files, { capacities: { ebpf: EBPF_CAPACITY, pf: PF_CAPACITY }, ...options });
}

export interface SourceChoice {
  /** A folder of this disk, or a URL of a repository. */
  readonly location: string;
  readonly ref?: string | undefined;
}

/** A folder of this disk is read as it lies there (with `ref`: from the repository around it); a URL or a bare repository from a mirror. */
export async function openSource(settings: Settings, { location, ref }: SourceChoice): Promise<Source> {
  if (await isRepository(location)) return openRepository(settings, { location, ref, path: settings.source.path });
  const { FolderSource, RepositorySource } = await import("../adapters/git/folder.js");
  const dir = folderIn(location, settings);
  return ref === undefined ? new FolderSource({ dir }) : new RepositorySource({ dir, ref });
}

/** The same place at another ref, for comparing with it. */
export async function openBase(
  settings: Settings,
  { location, ref }: SourceChoice & { readonly ref: string },
): Promise<BaseSource> {
  if (await isRepository(location)) return openRepository(settings, { location, ref, path: settings.source.path });
  const { RepositorySource } = await import("../adapters/git/folder.js");
  return new RepositorySource({ dir: folderIn(location, settings), ref });
}

function folderIn(location: string, { source }: Settings): string {
  return source.path === null ? location : join(location, source.path);
}

/** What is read through a mirror, and not where it lies. */
async function isRepository(location: string): Promise<boolean> {
  const { isRemoteLocation } = await import("../adapters/git/location.js");
  return isRemoteLocation(location) || (await isBareRepository(location));
}

/**
 * A folder of some work tree is none, whatever it holds: what a commit put there must not decide what is read, nor what
 * it is compared with.
 */
async function isBareRepository(path: string): Promise<boolean> {
  const has = (folder: string, name: string) =>
    stat(join(folder, name)).then(
      () => true,
      () => false,
    );
  for (let folder = resolve(path), last = ""; folder !== last; [folder, last] = [dirname(folder), folder])
    if (await has(folder, ".git")) return false;
  return (await has(path, "HEAD")) && (await has(path, "objects")) && (await has(path, "refs"));
}

async function openRepository(
  settings: Settings,
  { location, ref, path, signal }: SourceChoice & { readonly path: string | null; readonly signal?: AbortSignal },
): Promise<GitSource> {
  const { GitSource } = await import("../adapters/git/source.js");
  const { verify } = settings.source;
  const isVerified = verify.sshSigners !== null || verify.openpgpKeys !== null;
  return new GitSource({
    location,
    cacheDir: join(settings.stateDir, "mirrors"),
    ...(ref === undefined ? {} : { ref }),
    ...(path === null ? {} : { path }),
    ...(isVerified ? { signers: verify } : {}),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** What Git says now: the configured source, or the one that the leader polls; or why that is not known. */
export async function readGitObjects(settings: Settings, store: Store): Promise<GitReading> {
  const configured = sourceChoice(settings);
  const polled = configured === null ? await store.readSourceStatus() : null;
  const choice =
    configured ??
    (polled === null ? null : { location: polled.location, ref: polled.ref ?? undefined, path: polled.path });
  if (choice === null) return { objects: null, why: "no source is polled for this store" };
  try {
    const { files, source, unverified } = await (await openRepository(settings, choice)).fetch();
    if (unverified) return { objects: null, why: `commit ${unverified.commit.slice(0, 12)}: ${unverified.problem}` };
    const { objects, diagnostics } = readManifests(files);
    if (!hasErrors(diagnostics)) return { objects };
    return { objects: null, why: `commit ${source.commit?.slice(0, 12) ?? "none"} does not validate` };
  } catch (error) {
    if (error instanceof SourceError) return { objects: null, why: error.message };
    throw error;
  }
}

/** Names this process as one that writes and is no agent. It may write beside an agent or an election in the same process. */
export async function describeWriter(): Promise<string> {
  const { describeSelf } = await import("../adapters/system/process-identity.js");
  return `${describeSelf()}/${systemRandom.id()}`;
}

/**
 * What the machine has: eBPF on Linux, pf on macOS. Null where it has neither, and nothing is taken in its place.
 * @throws OperationError `unsupported` where one is named that the machine does not have
 */
function chooseBackend({ backend }: Settings): "ebpf" | "pf" | null {
  const { platform } = process;
  const own = platform === "linux" ? "ebpf" : platform === "darwin" ? "pf" : null;
  if (backend === "auto" || backend === "none") return own;
  if (backend === own) return own;
  const wants = backend === "pf" ? "pf is what macOS enforces with" : "eBPF is what Linux enforces with";
  throw new OperationError(
    "unsupported",
    `--backend ${backend} cannot enforce here: ${wants}, and this is ${platform}; ` +
      `\`ztap enforcement render --backend ${backend}\` shows what it would load, on any machine`,
  );
}

/** The machine's own backend; `none` only where it was asked for by name. @throws OperationError `unsupported` */
export async function openEnforcer(settings: Settings, logger: Logger): Promise<Enforcer> {
  if (settings.backend === "none") {
    const { NoneEnforcer } = await import("../adapters/none/enforcer.js");
    return new NoneEnforcer();
  }
  switch (chooseBackend(settings)) {
    case "ebpf": {
      const { EbpfEnforcer } = await import("../adapters/ebpf/enforcer.js");
      return new EbpfEnforcer({ node: settings.node, pinRoot: settings.pinRoot, logger });
    }
    case "pf": {
      const { PfEnforcer } = await import("../adapters/pf/enforcer.js");
      return new PfEnforcer({ node: settings.node, stateDir: settings.stateDir, logger });
    }
    case null:
      throw new OperationError(
        "unsupported",
        `there is no enforcement backend for ${process.platform}; --backend none reports without enforcing`,
      );
  }
}

/**
 * For reading this machine's kernel for a node that is enforced here; null where it is not, or without
 * root. Not opened yet. It only looks: a pin that is missing is reported as drift, and not made.
 */
export async function openLocalEnforcer(
  settings: Settings,
  node: string,
  boot: string | null,
): Promise<Enforcer | null> {
  if (process.geteuid?.() !== 0) return null;
  if (process.platform === "darwin") return openLocalPf(settings, node);
  if (process.platform !== "linux") return null;
  const { nodeFolders } = await import("../adapters/ebpf/kernel/paths.js");
  const { bootId } = await import("../adapters/system/process-identity.js");
  // Its agent reported from this very boot, or its pins are here: pins that are gone are what is to be seen.
  const isOurs = boot !== null && boot === bootId();
  const hasPins = await readdir(nodeFolders(settings.pinRoot, node).node).then(
    () => true,
    () => false,
  );
  if (!isOurs && !hasPins) return null;
  const { EbpfEnforcer } = await import("../adapters/ebpf/enforcer.js");
  const { createLogger } = await import("../adapters/system/logger.js");
  return new EbpfEnforcer({
    node,
    pinRoot: settings.pinRoot,
    logger: createLogger("error", logsText(settings)),
    readOnly: true,
  });
}

/** Whether the agent of a node runs on this machine; null where that cannot be told. */
export async function isAgentHere({ pinRoot }: Settings, node: string): Promise<boolean | null> {
  if (process.platform !== "linux") return null;
  const { isNodeHeld } = await import("../adapters/ebpf/upgrade/is-node-locked.js");
  return isNodeHeld(pinRoot, node);
}

/** Where its anchor is that node's. */
async function openLocalPf(settings: Settings, node: string): Promise<Enforcer | null> {
  const { ReferenceFile } = await import("../adapters/pf/reference.js");
  const { PfEnforcer } = await import("../adapters/pf/enforcer.js");
  const { createLogger } = await import("../adapters/system/logger.js");
  const { stateDir } = settings;
  if ((await new ReferenceFile(stateDir).read())?.node !== node) return null;
  return new PfEnforcer({ node, stateDir, logger: createLogger("error", logsText(settings)), readOnly: true });
}

function logsText({ logFormat }: Settings): boolean {
  return logFormat === "auto" ? process.stderr.isTTY : logFormat === "text";
}

/** @param signal ends a transfer that a silent remote would draw out */
export async function withAgentDeps(
  settings: Settings,
  signal: AbortSignal,
  use: (deps: AgentDeps, options: AgentOptions) => Promise<void>,
): Promise<void> {
  const { createLogger } = await import("../adapters/system/logger.js");
  const { createTelemetry } = await import("../adapters/prometheus/telemetry.js");
  const { serveHttp } = await import("../adapters/prometheus/server.js");
  const { bootId, describeSelf, isHolderAlive } = await import("../adapters/system/process-identity.js");
  const { createManifestCache } = await import("../manifest/read.js");
  const logger = createLogger(settings.logLevel, logsText(settings));
  const { telemetry, registry } = createTelemetry();
  const { DiskCopy, copyPath } = await import("../adapters/disk/last-good.js");
  const cache = createManifestCache();
  const enforcer = await openEnforcer(settings, logger);
  if (settings.source.url !== null) makeFolder(settings.stateDir, 0o700);
  await withStore(settings, { create: true }, async (store) =>
    use(
      {
        store,
        source: await openPolledSource(settings, signal),
        enforcer,
        copy: new DiskCopy(copyPath(settings.stateDir, settings.node), logger),
        lifelines: openLifelines(settings),
        read: (files) => readManifests(files, { cache }),
        clock: systemClock,
        random: systemRandom,
        logger,
        telemetry,
        isHolderAlive,
        serveFlows: async (feed) => {
          const { serveFlows } = await import("../adapters/flows/server.js");
          return serveFlows(settings.stateDir, settings.node, feed, logger);
        },
        serve: (probes) => (settings.listen === null ? null : serveHttp(settings.listen, registry, probes)),
      },
      { ...settings, holder: describeSelf(), boot: bootId() },
    ),
  );
}

function openPolledSource(settings: Settings, signal: AbortSignal): Promise<Source> | null {
  const choice = sourceChoice(settings);
  return choice === null ? null : openRepository(settings, { ...choice, signal });
}

/** The repository that the settings name; null where they name none. */
function sourceChoice({ source: { url, branch, path } }: Settings) {
  return url === null ? null : { location: url, ref: branch ?? undefined, path };
}

export async function openFolder(dir: string): Promise<Source> {
  const { FolderSource } = await import("../adapters/git/folder.js");
  return new FolderSource({ dir });
}

/** `ztap init`: copies the starter repository. */
export async function scaffoldRepository(root: string, dir: string): Promise<Scaffolded> {
  const { scaffold } = await import("../adapters/git/scaffold.js");
  return scaffold(
    [
      { from: join(root, "examples/starter"), to: "" },
      // What its workflow uses: the action of this very version, and nothing fetched by name.
      { from: join(root, ".github/actions/plan"), to: ".github/actions/ztap-plan" },
      // For editors: the schemas of this very version, without a network.
      { from: join(root, "schemas"), to: ".ztap/schemas", only: /^[^/]+\.schema\.json$/ },
    ],
    dir,
  );
}

/** What `ztap doctor` looks at: the machine for enforcement, git, the store and the source. */
export async function examineMachine(settings: Settings): Promise<readonly Check[]> {
  const kernel = await examineBackend(settings);
  const git = await examine("git", "install git 2.30 or newer", async () => {
    const { gitVersion } = await import("../adapters/git/git.js");
    return gitVersion();
  });
  const store = await examine("store", "run as root, or choose another with --store", async () => {
    const head = await withStore(settings, { create: false }, (opened) => opened.readHead());
    return head === null ? "empty" : `revision ${head}`;
  });
  const choice = sourceChoice(settings);
  if (choice === null) return [...kernel, git, store];
  const source = await examine(
    "source",
    "check the URL, the branch and the credentials of the user that runs the agent",
    async () => {
      const tip = await (await openRepository(settings, choice)).readTip();
      return `tip is ${tip.slice(0, 12)}`;
    },
  );
  return [...kernel, git, store, source];
}

async function examineBackend({ pinRoot }: Settings): Promise<readonly Check[]> {
  if (process.platform === "darwin") {
    const { checkPf } = await import("../adapters/pf/doctor.js");
    return checkPf();
  }
  const { checkKernel, checkVersions } = await import("../adapters/ebpf/doctor.js");
  return process.platform === "linux" ? [...checkKernel({}), checkVersions(pinRoot)] : checkKernel({});
}

const toCheck = (name: string, ok: boolean, detail: string, fix: string): Check => ({
  name,
  state: ok ? "ok" : "failed",
  detail,
  fix: ok ? null : fix,
});

async function examine(name: string, fix: string, look: () => Promise<string>): Promise<Check> {
  try {
    return toCheck(name, true, await look(), fix);
  } catch (error) {
    // Most errors say themselves what to do: then that is the advice, and not said twice.
    const [, detail, advice] = /^(.*); ([^;]+)$/s.exec(messageInWords(error)) ?? [];
    return toCheck(name, false, detail ?? messageInWords(error), advice ?? fix);
  }
}

/** Graphviz is a megabyte: only who draws loads it. */
export async function layOutGraph(dot: string): Promise<string> {
  const { layOutSvg } = await import("../adapters/graphviz/svg.js");
  return layOutSvg(dot);
}
