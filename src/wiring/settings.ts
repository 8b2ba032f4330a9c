/** Wiring of the settings: passes this process's environment, machine and check of file ownership to the loader. */
import { homedir, hostname } from "node:os";
import { writableByOthers } from "../adapters/system/ownership.js";
import { loadLayers, type Invocation, type SettingsReport } from "../settings/load.js";
import { listSettings, resolveSettings, type Settings } from "../settings/settings.js";

export type CommandLine = Pick<Invocation, "flags" | "config">;

/** @throws OperationError `invalid-settings` */
export async function loadSettings(commandLine: CommandLine): Promise<Settings> {
  const invocation = gather(commandLine);
  const { layers } = await loadLayers(invocation);
  return resolveSettings(layers, invocation.machine);
}

/** @throws OperationError `invalid-settings` */
export async function reportSettings(commandLine: CommandLine): Promise<SettingsReport> {
  const invocation = gather(commandLine);
  const { layers, files } = await loadLayers(invocation);
  resolveSettings(layers, invocation.machine);
  return { settings: listSettings(layers, invocation.machine), files };
}

function gather(commandLine: CommandLine): Invocation {
  return {
    ...commandLine,
    environment: process.env,
    machine: {
      isRoot: process.geteuid?.() === 0,
      hostname: hostname(),
      home: homeFolder(),
      xdgStateHome: process.env["XDG_STATE_HOME"],
      xdgConfigHome: process.env["XDG_CONFIG_HOME"],
    },
    writableByOthers: (path) => writableByOthers(path, process.geteuid?.() ?? 0),
  };
}

/** A user id without an entry in the password file, and without HOME, has no home. */
function homeFolder(): string {
  try {
    return homedir();
  } catch {
    return "/";
  }
}
