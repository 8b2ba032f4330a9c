/** Gathers the layers of the settings from the flags, the environment and the configuration file. */
import { readFile } from "node:fs/promises";
import { homedir, hostname } from "node:os";
import { hasErrors } from "../model/diagnostic.js";
import { withReason } from "../model/system-error.js";
import { OperationError } from "../model/operation-error.js";
import type { Settings, SettingsLayer } from "./settings.js";
import { SETTING_KEYS, resolveSettings, variableOf } from "./settings.js";
import { SETTING_OF_FLAG } from "./flags.js";

export async function loadSettings(flags: Readonly<Record<string, unknown>>): Promise<Settings> {
  const environment = environmentLayer(process.env);
  const layers: SettingsLayer[] = [flagLayer(flags, environment), environment];
  const file = flags["config"];
  if (typeof file === "string") layers.push(await fileLayer(file));
  return resolveSettings(layers, {
    isRoot: process.geteuid?.() === 0,
    hostname: hostname(),
    home: homeFolder(),
    xdgStateHome: process.env["XDG_STATE_HOME"],
  });
}

/** oclif fills a flag that was not given from its variable; an error should name the variable then. */
function flagLayer(flags: Readonly<Record<string, unknown>>, environment: SettingsLayer): SettingsLayer {
  const values = Object.entries(SETTING_OF_FLAG).flatMap(([flag, key]) => {
    const given = flags[flag];
    const value = given === true ? "true" : given;
    return typeof value === "string" && value !== environment.values[key] ? [[key, value] as const] : [];
  });
  return { origin: "flag", values: Object.fromEntries(values) };
}

function environmentLayer(environment: NodeJS.ProcessEnv): SettingsLayer {
  const values = SETTING_KEYS.flatMap((key) => {
    const value = environment[variableOf(key)];
    return value === undefined ? [] : [[key, value] as const];
  });
  return { origin: "environment", values: Object.fromEntries(values) };
}

/** A user id without an entry in the password file, and without HOME, has no home. */
function homeFolder(): string {
  try {
    return homedir();
  } catch {
    return "/";
  }
}

async function fileLayer(file: string): Promise<SettingsLayer> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    const message = withReason(`the configuration file ${file} cannot be read`, cause);
    throw new OperationError("invalid-settings", message, { cause });
  });
  // Only a command with a configuration file pays for the YAML parser here.
  const { readConfig } = await import("./config-file.js");
  const { values, diagnostics } = readConfig(file, text);
  if (hasErrors(diagnostics)) {
    const problems = diagnostics.map(
      ({ line, column, code, message, fix }) =>
        `${file}:${line}:${column} ${code} ${message}${fix === undefined ? "" : `; ${fix}`}`,
    );
    throw new OperationError("invalid-settings", problems.join("\n"));
  }
  return { origin: file, values };
}
