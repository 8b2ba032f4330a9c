/** Wiring of `ztap setup`: the configuration file, the checks, the units, and what runs here. */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { makeFile, readIfThere, replaceFile } from "../adapters/system/atomic-file.js";
import { writableByOthers } from "../adapters/system/ownership.js";
import type { UnitsEnabled } from "../adapters/system/systemd.js";
import { hasErrors } from "../model/diagnostic.js";
import type { Check } from "../model/doctor.js";
import { OperationError } from "../model/operation-error.js";
import {
  configurationText,
  hasAll,
  isReplaceable,
  SETUP_KEYS,
  type SetupValues,
} from "../operations/setup/configuration.js";
import { EVERYTHING, proposeWorkloads, type Proposal } from "../operations/setup/proposal.js";
import { readConfig } from "../settings/config-file.js";
import { SYSTEM_CONFIG_FILE, type Machine } from "../settings/defaults.js";
import { maskCredentials } from "../settings/mask.js";
import { describeForeign } from "../settings/load.js";
import { resolveSettings, type Settings, type SettingsLayer } from "../settings/settings.js";
import { openDiscovery } from "./discovery.js";
import { examineMachine } from "./doctor.js";

/** Where `ztap cluster enroll` puts a node's certificates. */
const ENROLLED = "/etc/ztap/etcd";

export interface NodeSetupPlan {
  readonly file: string;
  /** `kept`: it already says all of this. */
  readonly action: "write" | "replace" | "kept";
  /** The text to write; null for `kept`. */
  readonly text: string | null;
  /** Where the former file is kept; null if there is none, or none with settings. */
  readonly backup: string | null;
  readonly mode: number;
  readonly settings: Settings;
  /** What would change besides, for the user to know. */
  readonly warnings: readonly string[];
}

export interface NodeSetupDone {
  readonly plan: NodeSetupPlan;
  readonly checks: readonly Check[];
  /** Whether the file says all of this now: not if the store or the source cannot be used with it. */
  readonly isWritten: boolean;
  /** Null if a check failed: then no unit is enabled. */
  readonly units: UnitsEnabled | null;
}

/** Reads the values of the file that is there; what flags do not say stays as it is. */
export function readSetupFile(file: string = SYSTEM_CONFIG_FILE): {
  readonly text: string | null;
  readonly layer: SettingsLayer;
} {
  const path = resolve(file);
  const text = readIfThere(path);
  if (text === null) return { text, layer: {} };
  const why = writableByOthers(path, process.geteuid?.() ?? 0);
  if (why !== null)
    throw new OperationError("invalid-settings", `the configuration file ${path} is not read: ${describeForeign(why)}`);
  return { text, layer: readLayer(path, text) };
}

/** @throws OperationError `invalid-settings` */
function readLayer(path: string, text: string): SettingsLayer {
  const { values, diagnostics } = readConfig(path, text);
  if (!hasErrors(diagnostics)) return values;
  const problems = diagnostics.map(({ line, column, message }) => `${path}:${line}:${column} ${message}`);
  throw new OperationError("invalid-settings", problems.join("\n"));
}

/**
 * Decides what to write. Nothing is changed.
 * @param given what flags and answers say
 * @throws OperationError `invalid-settings`; `target-not-empty` for a file that a person has edited, without `force`
 */
export function planNodeSetup(file: string, given: SetupValues, { force }: { readonly force: boolean }): NodeSetupPlan {
  const path = resolve(file);
  const { text: before, layer } = readSetupFile(path);
  const known = SETUP_KEYS.flatMap((key) => (layer[key] === undefined ? [] : [[key, layer[key].text] as const]));
  const values = withCertificates({ ...Object.fromEntries(known), ...given });
  const text = configurationText(values);
  // What the agent could not read is not written.
  const written = readLayer(path, text);
  const kept = before !== null && hasAll(values, layer);
  const settings = resolveSettings(kept ? [layer] : [written], machine());
  // A URL may hold a password.
  const mode = maskCredentials(text) === text ? 0o644 : 0o600;
  const isPlain = before === null || isReplaceable(before, layer);
  if (!kept && !isPlain && !force)
    throw new OperationError(
      "target-not-empty",
      `${path} was edited and is left as it is; add the settings there, or use --force (the file is kept as ${path}.ztap-backup)`,
    );
  const backup = before === null || kept || Object.keys(layer).length === 0 ? null : `${path}.ztap-backup`;
  return {
    file: path,
    action: kept ? "kept" : before === null ? "write" : "replace",
    text: kept ? null : text,
    backup,
    mode,
    settings,
    warnings: before === null ? [] : warningsOf(resolveSettings([layer], machine()).node, settings.node),
  };
}

/** Enforcement is kept by the node's name: after a reboot the agent looks for that of the new name. */
function warningsOf(before: string, now: string): readonly string[] {
  if (before === now) return [];
  return [
    `the name of this node changes from ${before} to ${now}: what is enforced is kept by name, so that a reboot restores nothing until the agent has enforced for ${now}; then ztap enforcement remove --node ${before} removes what was kept for the former name`,
  ];
}

/**
 * Checks the machine, and the store and the source as the file will name them; then writes the file, last, and enables the
 * units if nothing failed. A file that works is not replaced by one with which the agent would find no policy.
 */
export async function applyNodeSetup(plan: NodeSetupPlan): Promise<NodeSetupDone> {
  const { text, settings } = plan;
  const checks = await examineMachine(settings);
  const failed = checks.filter(({ state }) => state === "failed");
  const isUsable = !failed.some(({ name }) => ["store", "source", "etcd.ca", "etcd.cert"].includes(name));
  if (text !== null && isUsable) writeFile(plan, text);
  const isWritten = text === null || isUsable;
  if (failed.length > 0) return { plan, checks, isWritten, units: null };
  const { enableUnits } = await import("../adapters/system/systemd.js");
  return { plan, checks, isWritten, units: enableUnits({ restart: text !== null }) };
}

function writeFile({ file, backup, mode }: NodeSetupPlan, text: string): void {
  const before = readIfThere(file);
  if (backup !== null && before !== null) replaceFile(backup, before, { mode: 0o600 });
  if (before !== null) replaceFile(file, text, { mode });
  else if (!makeFile(file, text, { mode }))
    throw new OperationError("lost-race", `${file} has just been made by another process; run ztap setup again`);
}

/** A cluster's store needs certificates: those of an enrolment are found by themselves. */
function withCertificates(values: SetupValues): SetupValues {
  const hasOwn = values["etcd.ca"] !== undefined || values["etcd.cert"] !== undefined;
  if (!(values.store ?? "").startsWith("etcds://") || hasOwn) return values;
  const [ca, cert, key] = ["ca.crt", "node.crt", "node.key"].map((name) => join(ENROLLED, name));
  if (![ca, cert, key].every((path) => path !== undefined && existsSync(path))) return values;
  return { ...values, "etcd.ca": ca, "etcd.cert": cert, "etcd.key": key };
}

/** Proposes workloads from what runs on this machine. */
export async function discoverWorkloads(settings: Settings, namespace: string): Promise<Proposal> {
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
