/** Wiring of `ztap setup`: the configuration file, the checks, the units, and what runs here. */
import { existsSync, lstatSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { makeFile, readIfThere, replaceFile } from "../adapters/system/atomic-file.js";
import { writableByOthers } from "../adapters/system/ownership.js";
import { EnforcerError } from "../interfaces/enforcer.js";
import { OperationError } from "../model/operation-error.js";
import type { SetupKey, SetupValues } from "../operations/setup/configuration.js";
import {
  applyNodeSetup,
  planNodeSetup,
  type FoundFile,
  type NodeSetupDone,
  type NodeSetupPlan,
  type PlanOptions,
} from "../operations/setup/node-setup.js";
import { checkNamespace, EVERYTHING, proposeWorkloads, type Proposal } from "../operations/setup/proposal.js";
import { readSettingsFile } from "../settings/config-file.js";
import { SYSTEM_CONFIG_FILE, type Machine } from "../settings/defaults.js";
import { describeForeign } from "../settings/load.js";
import { resolveSettings, type Settings } from "../settings/settings.js";
import { openDiscovery } from "./discovery.js";
import { examineMachine } from "./doctor.js";

/** Where `ztap cluster enroll` puts a node's certificates. */
const ENROLLED = "/etc/ztap/etcd";

/** Reads the configuration file that is there. @throws OperationError `invalid-settings` */
export function readSetupFile(file: string): FoundFile {
  const path = resolve(file);
  const text = readIfThere(path);
  const why = writableByOthers(path, process.geteuid?.() ?? 0);
  if (why !== null)
    throw new OperationError("invalid-settings", `the configuration file ${path} is not read: ${describeForeign(why)}`);
  if (text === null) return { path, text, layer: {} };
  return { path, text, layer: readSettingsFile(path, text) };
}

/**
 * Refuses a user who could not write the machine's file, before any question.
 * @throws EnforcerError `not-permitted`
 */
export function requireRootFor(file: string): void {
  if (resolve(file) !== SYSTEM_CONFIG_FILE || process.geteuid?.() === 0) return;
  throw new EnforcerError(
    "not-permitted",
    `ztap setup needs root: it writes ${SYSTEM_CONFIG_FILE} and starts the agent; --dry-run shows what it would do`,
  );
}

/** Returns why a setting cannot have a value; null if it can. */
export function problemOfAnswer(key: SetupKey, text: string): string | null {
  try {
    resolveSettings([{ [key]: { text, origin: "this answer" } }], machine());
    return null;
  } catch (error) {
    if (error instanceof OperationError) return error.message;
    throw error;
  }
}

/** See the operation. */
export function planMachineSetup(
  found: FoundFile,
  given: SetupValues,
  options: Pick<PlanOptions, "defaults" | "force">,
): NodeSetupPlan {
  const backup = freePath(`${found.path}.ztap-backup`);
  return planNodeSetup(found, given, { ...options, machine: machine(), enrolled: findEnrolled(), backup });
}

/** Returns the path, with a number where there is something already: an earlier copy stays. */
function freePath(path: string): string {
  for (let number = 1; ; number += 1) {
    const candidate = number === 1 ? path : `${path}.${number}`;
    if (lstatSync(candidate, { throwIfNoEntry: false }) === undefined) return candidate;
  }
}

/** See the operation. */
export function applyMachineSetup(plan: NodeSetupPlan): Promise<NodeSetupDone> {
  return applyNodeSetup(plan, {
    examine: examineMachine,
    write: writeFile,
    enableUnits: async (options) => (await import("../adapters/system/systemd.js")).enableUnits(options),
  });
}

function writeFile({ file, before, backup, mode }: NodeSetupPlan, text: string): void {
  // The checks may have taken long.
  if (readIfThere(file) !== before)
    throw new OperationError("lost-race", `${file} has just been changed, and is left as it is; run ztap setup again`);
  if (backup !== null && before !== null) replaceFile(backup, before, { mode: 0o600 });
  if (before !== null) replaceFile(file, text, { mode });
  else if (!makeFile(file, text, { mode }))
    throw new OperationError("lost-race", `${file} has just been made by another process; run ztap setup again`);
}

function findEnrolled(): SetupValues | null {
  const [ca, cert, key] = [join(ENROLLED, "ca.crt"), join(ENROLLED, "node.crt"), join(ENROLLED, "node.key")] as const;
  return [ca, cert, key].every((path) => existsSync(path))
    ? { "etcd.ca": ca, "etcd.cert": cert, "etcd.key": key }
    : null;
}

/** Proposes workloads from what runs on this machine. */
export async function discoverWorkloads(settings: Settings, namespace: string): Promise<Proposal> {
  checkNamespace(namespace);
  const problems: string[] = [];
  const nothing = (): void => undefined;
  const logger = {
    debug: nothing,
    info: nothing,
    error: nothing,
    warn: (message: string) => void problems.push(message),
  };
  const discovery = await openDiscovery(settings, logger);
  const found = await discovery.discover(EVERYTHING);
  return proposeWorkloads({ ...found, problems: [...found.problems, ...problems] }, settings.node, namespace);
}

function machine(): Machine {
  const isRoot = process.geteuid?.() === 0;
  return { isRoot, hostname: hostname(), home: "/root", xdgStateHome: undefined, xdgConfigHome: undefined };
}
