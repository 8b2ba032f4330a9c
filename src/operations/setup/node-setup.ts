/** Sets up a machine: decides what its configuration file says, checks the machine with it, writes it last, enables the units. */
import type { UnitsEnabled } from "../../interfaces/system.js";
import type { Check } from "../../model/doctor.js";
import { OperationError } from "../../model/operation-error.js";
import { readSettingsFile } from "../../settings/config-file.js";
import type { Machine } from "../../settings/defaults.js";
import { maskCredentials } from "../../settings/mask.js";
import type { SettingsLayer } from "../../settings/read.js";
import { resolveSettings, type Settings } from "../../settings/settings.js";
import { configurationText, hasAll, isReplaceable, SETUP_KEYS, type SetupValues } from "./configuration.js";

/** The configuration file as it is. */
export interface FoundFile {
  readonly path: string;
  /** Null if there is none. */
  readonly text: string | null;
  readonly layer: SettingsLayer;
}

export interface NodeSetupPlan {
  readonly file: string;
  /** `kept`: it already says all of this. */
  readonly action: "write" | "replace" | "kept";
  /** The text that was there; null if there was no file. */
  readonly before: string | null;
  /** The text to write; null for `kept`. */
  readonly text: string | null;
  /** Where the former file is kept; null if there is none, or setup wrote it. */
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

export interface PlanOptions {
  /** Values for what is said nowhere. */
  readonly defaults: SetupValues;
  readonly machine: Machine;
  /** The certificates of an enrolment; null if there is none. */
  readonly enrolled: SetupValues | null;
  /** Whether a file that a person has edited may be replaced. */
  readonly force: boolean;
  /** A path for its copy, where nothing is yet. */
  readonly backup: string;
}

export interface NodeSetupDeps {
  readonly examine: (settings: Settings) => Promise<readonly Check[]>;
  /** Writes the plan's text, and keeps the former file where the plan says. */
  readonly write: (plan: NodeSetupPlan, text: string) => void;
  readonly enableUnits: (options: { readonly restart: boolean }) => Promise<UnitsEnabled>;
}

/**
 * Decides what to write. Nothing is changed.
 * @param given what flags and answers say; what they do not say stays as it is
 * @throws OperationError `invalid-settings`; `target-not-empty` for a file that a person has edited, without `force`
 */
export function planNodeSetup(found: FoundFile, given: SetupValues, options: PlanOptions): NodeSetupPlan {
  const { path, text: before, layer } = found;
  const { defaults, machine, enrolled, force } = options;
  const known = SETUP_KEYS.flatMap((key) => (layer[key] === undefined ? [] : [[key, layer[key].text] as const]));
  const values = withCertificates({ ...defaults, ...Object.fromEntries(known), ...given }, enrolled);
  const text = configurationText(values);
  // What the agent could not read is not written.
  const written = readSettingsFile(path, text);
  const isPersons = isEdited(found);
  const isKept = before !== null && hasAll(isPersons ? given : values, layer);
  if (!isKept && isPersons && !force)
    throw new OperationError(
      "target-not-empty",
      `${path} was edited and is left as it is; add the settings there, or use --force (the file is kept as ${options.backup})`,
    );
  const settings = resolveSettings(isKept ? [layer] : [written], machine);
  return {
    file: path,
    action: isKept ? "kept" : before === null ? "write" : "replace",
    before,
    text: isKept ? null : text,
    // What setup wrote would take the place of what a person had written.
    backup: isKept || !isPersons ? null : options.backup,
    // A URL may hold a password.
    mode: maskCredentials(text) === text ? 0o644 : 0o600,
    settings,
    warnings: before === null ? [] : warningsOf(resolveSettings([layer], machine).node, settings.node),
  };
}

/** Returns whether a person has written what the file says: setup leaves it as it is. */
export function isEdited({ text, layer }: FoundFile): boolean {
  return text !== null && !isReplaceable(text, layer);
}

/** A cluster's store needs certificates: those of an enrolment are found by themselves. */
function withCertificates(values: SetupValues, enrolled: SetupValues | null): SetupValues {
  const hasOwn = values["etcd.ca"] !== undefined || values["etcd.cert"] !== undefined;
  return hasOwn || !(values.store ?? "").startsWith("etcds://") ? values : { ...values, ...enrolled };
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
export async function applyNodeSetup(plan: NodeSetupPlan, deps: NodeSetupDeps): Promise<NodeSetupDone> {
  const { text, settings } = plan;
  const checks = await deps.examine(settings);
  const failed = checks.filter(({ state }) => state === "failed");
  const isUsable = !failed.some(({ name }) => ["store", "source", "etcd.ca", "etcd.cert"].includes(name));
  if (text !== null && isUsable) deps.write(plan, text);
  const isWritten = text === null || isUsable;
  if (failed.length > 0) return { plan, checks, isWritten, units: null };
  return { plan, checks, isWritten, units: await deps.enableUnits({ restart: text !== null }) };
}
