/** The defaults that depend on the machine, and the paths of the configuration files. Pure. */
import { SETTINGS, type SettingKey } from "./table.generated.js";
import { parseHostPort } from "./types.js";

/** The facts that the defaults depend on. */
export interface Machine {
  readonly isRoot: boolean;
  readonly hostname: string;
  readonly home: string;
  readonly xdgStateHome: string | undefined;
  readonly xdgConfigHome: string | undefined;
}

type Table = typeof SETTINGS;
type ComputedKey = { [K in SettingKey]: Table[K] extends { readonly isComputed: true } ? K : never }[SettingKey];
type Compute = (machine: Machine, textOf: (key: SettingKey) => string) => string;

/** Each default as text; some follow from other settings. */
const COMPUTED: Readonly<Record<ComputedKey, Compute>> = {
  stateDir: ({ isRoot, home, xdgStateHome }) =>
    isRoot ? "/var/lib/ztap" : `${absolute(xdgStateHome) ?? `${home}/.local/state`}/ztap`,
  store: (_, textOf) => `file:${textOf("stateDir")}`,
  node: ({ hostname }) => nodeNameOf(hostname),
  address: (_, textOf) => `${textOf("node")}:${agentPort(textOf("listen"))}`,
};

/**
 * Returns the default.
 * @param textOf the text in effect for another setting
 * @returns null if the setting has no default
 */
export function defaultOf(key: SettingKey, machine: Machine, textOf: (key: SettingKey) => string): string | null {
  if (isComputed(key)) return COMPUTED[key](machine, textOf);
  const definition = SETTINGS[key];
  return "default" in definition ? definition.default : null;
}

function isComputed(key: SettingKey): key is ComputedKey {
  return Object.hasOwn(COMPUTED, key);
}

/** The machine's file, for every user. */
export const SYSTEM_CONFIG_FILE = "/etc/ztap/config.yaml";

/**
 * Returns the user's file, which takes precedence over the machine's. Root has one only if XDG_CONFIG_HOME is set:
 * `sudo` may keep the HOME of another user, and a service, a cron job and a shell of root must find the same settings.
 */
export function userConfigFile({ isRoot, home, xdgConfigHome }: Machine): string | null {
  const base = absolute(xdgConfigHome) ?? (isRoot ? null : `${home}/.config`);
  return base === null ? null : `${base}/ztap/config.yaml`;
}

/** The XDG base directory specification: an empty or relative path counts as not set. */
function absolute(path: string | undefined): string | undefined {
  return path?.startsWith("/") === true ? path : undefined;
}

/**
 * Returns a node name for a host name, which may contain characters that a node name may not; no command should fail
 * for that.
 */
function nodeNameOf(hostname: string): string {
  const name = (hostname.split(".", 1)[0] ?? "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 63)
    .replace(/^-|-$/g, "");
  return name === "" ? "localhost" : name;
}

/** Returns the agent's port. Port 0 means any free port, which is not known before the agent listens. */
function agentPort(listen: string): string {
  const ports = [listen, SETTINGS.listen.default].map((text) => parseHostPort(text)?.port ?? 0);
  return String(ports.find((port) => port > 0));
}
