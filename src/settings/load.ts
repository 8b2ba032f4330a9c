/** Gathers the layers of the settings: the flags, the environment, and the configuration files, named or found. */
import { lstat, readFile, stat } from "node:fs/promises";
import { OperationError } from "../model/operation-error.js";
import { withReason } from "../model/system-error.js";
import { SYSTEM_CONFIG_FILE, userConfigFile, type Machine } from "./defaults.js";
import { definitionOf, SETTING_KEYS } from "./definitions.js";
import type { SettingsLayer } from "./read.js";
import type { SettingRow } from "./settings.js";
import type { SettingKey } from "./table.generated.js";

/** The command line, the environment and the machine of this process. */
export interface Invocation {
  /** Flags from the command line, by name; `true` for a flag without a value. */
  readonly flags: Readonly<Record<string, string>>;
  /** The file that --config or ZTAP_CONFIG names. */
  readonly config: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly machine: Machine;
  /** Returns why a user other than root and the one who runs ztap can change a file; null if none can. */
  readonly writableByOthers: (path: string) => string | null;
  /** The machine's file; another one in tests. */
  readonly systemFile?: string;
}

export interface ConfigFile {
  readonly path: string;
  /** False for a file that does not exist. */
  readonly found: boolean;
}

/** Every setting with its value and origin, for `ztap config show`. */
export interface SettingsReport {
  readonly settings: readonly SettingRow[];
  readonly files: readonly ConfigFile[];
}

export interface Layers {
  /** Strongest first. */
  readonly layers: readonly SettingsLayer[];
  /** The configuration files, strongest first. */
  readonly files: readonly ConfigFile[];
}

/**
 * Reads the layers.
 * @throws OperationError `invalid-settings`
 */
export async function loadLayers(invocation: Invocation): Promise<Layers> {
  const above = [flagLayer(invocation.flags), environmentLayer(invocation.environment)];
  if (invocation.config !== undefined) {
    const layer = await readNamed(invocation.config, invocation);
    return { layers: [...above, layer], files: [{ path: invocation.config, found: true }] };
  }
  const paths = [userConfigFile(invocation.machine), invocation.systemFile ?? SYSTEM_CONFIG_FILE].filter(
    (path) => path !== null,
  );
  const read = await Promise.all(paths.map((path) => readFound(path, invocation)));
  return {
    layers: [...above, ...read.filter((layer) => layer !== null)],
    files: paths.map((path, index) => ({ path, found: read[index] !== null })),
  };
}

function flagLayer(flags: Invocation["flags"]): SettingsLayer {
  return layerOf((key) => {
    const { flag } = definitionOf(key);
    const value = flag === undefined ? undefined : flags[flag];
    return flag === undefined || value === undefined ? null : { text: value, origin: `flag --${flag}` };
  });
}

function environmentLayer(environment: Invocation["environment"]): SettingsLayer {
  return layerOf((key) => {
    const { variable } = definitionOf(key);
    const text = environment[variable];
    return text === undefined ? null : { text, origin: `environment ${variable}` };
  });
}

function layerOf(valueOf: (key: SettingKey) => SettingsLayer[SettingKey] | null): SettingsLayer {
  return Object.fromEntries(
    SETTING_KEYS.flatMap((key) => {
      const value = valueOf(key);
      return value === null ? [] : [[key, value] as const];
    }),
  );
}

/** Nothing, and the descriptors that a caller passes: no other user chooses their content. */
const PASSED = /^\/dev\/(null|stdin|fd\/[0-9]+)$/;

async function readNamed(path: string, invocation: Invocation): Promise<SettingsLayer> {
  if (path === "")
    throw new OperationError("invalid-settings", '--config: found "", wanted a file; /dev/null for none');
  if (!PASSED.test(path)) await refuseForeign(path, invocation);
  return parse(path, await readText(path));
}

/**
 * Reads a file at a default path; null if there is none. A symbolic link to a missing file is an error: a file was
 * intended there.
 */
async function readFound(path: string, invocation: Invocation): Promise<SettingsLayer | null> {
  if (!(await isThere(path))) return null;
  await refuseForeign(path, invocation);
  return parse(path, await readText(path));
}

/**
 * Refuses a file that another user can change: the settings decide which source, store and programs are used.
 * @throws OperationError `invalid-settings`
 */
async function refuseForeign(path: string, { writableByOthers }: Invocation): Promise<void> {
  await stat(path).catch((cause: unknown) => refuseUnreadable(path, cause));
  const why = writableByOthers(path);
  if (why !== null)
    throw new OperationError("invalid-settings", `the configuration file ${path} is not read: ${describeForeign(why)}`);
}

/** Returns the reason with the way to mend it. */
export function describeForeign(why: string): string {
  return `${why}; let root or the user who runs ztap own it, and nobody else write to it (chown, chmod go-w)`;
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (error: unknown) =>
      !(error instanceof Error && "code" in error && ["ENOENT", "ENOTDIR"].includes(String(error.code))),
  );
}

function readText(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: unknown) => refuseUnreadable(path, cause));
}

function refuseUnreadable(path: string, cause: unknown): never {
  const message = withReason(`the configuration file ${path} cannot be read`, cause);
  throw new OperationError("invalid-settings", message, { cause });
}

async function parse(path: string, text: string): Promise<SettingsLayer> {
  if (text === "") return {};
  // Loaded here, so that only commands with a configuration file load the YAML parser.
  const { readSettingsFile } = await import("./config-file.js");
  return readSettingsFile(path, text);
}
