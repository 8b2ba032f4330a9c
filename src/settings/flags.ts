/** The flags of the settings, one for each that a command needs; the rest of their life is in settings.ts. */
import { Flags } from "@oclif/core";
import type { SettingKey } from "./settings.js";
import { BACKENDS, DEFAULT_TEXTS, LOG_FORMATS, LOG_LEVELS, STORE_FORMS, variableOf } from "./settings.js";

/** The default is only told: a value here would heartbeat the configuration file. */
const setting = (key: SettingKey, description: string, helpValue: string, helpGroup?: string) =>
  Flags.string({
    description: `${description} (default: ${DEFAULT_TEXTS[key]})`,
    env: variableOf(key),
    helpValue,
    ...(helpGroup === undefined ? {} : { helpGroup }),
  });

/** The same with its choices, which oclif checks and shows. */
const choice = <const T extends string>(key: SettingKey, description: string, options: readonly T[]) =>
  Flags.option({ options, helpGroup: "GLOBAL" })({
    description: `${description} (default: ${DEFAULT_TEXTS[key]})`,
    env: variableOf(key),
  });

/** Of every command. */
export const GLOBAL_SETTING_FLAGS = {
  store: setting("store", STORE_FORMS, "URL", "GLOBAL"),
  "log-level": choice("logLevel", "least severity that is logged", LOG_LEVELS),
  "log-format": choice("logFormat", "how logs are written to stderr; auto: text on a terminal, else JSON", LOG_FORMATS),
};

export const SETTING_FLAGS = {
  "allow-lockout": Flags.boolean({
    description: "allow a policy to cut agents off, or SSH sessions in use",
    env: variableOf("allowLockout"),
  }),
  "state-dir": setting("stateDir", "folder for local state", "DIR"),
  node: setting("node", "name of this node", "NAME"),
  address: setting("address", "host:port under which others know this node", "HOST:PORT"),
  backend: setting("backend", BACKENDS.join(", "), "NAME"),
  listen: setting("listen", "host:port of /metrics, /healthz and /readyz, or off", "HOST:PORT"),
  "check-interval": setting("checkInterval", "how often the kernel is compared with the ruleset", "TIME"),
  "heartbeat-interval": setting("heartbeatInterval", "how often the heartbeat is renewed", "TIME"),
  "election-timeout": setting("electionTimeout", "how long a silent node counts as healthy", "TIME"),
  "session-ttl": setting("sessionTtl", "how long leadership outlives its last renewal", "TIME"),
  "pin-root": setting("pinRoot", "folder on a BPF file system", "DIR"),
  source: setting("source.url", "Git repository to poll", "URL"),
  branch: setting("source.branch", "branch of the source", "NAME"),
  "source-path": setting("source.path", "folder within the source", "DIR"),
  "source-interval": setting("source.interval", "time between polls", "TIME"),
};

export const REF_FLAG = Flags.string({ description: "commit, branch or tag", env: "ZTAP_REF", helpValue: "REF" });

export const SETTING_OF_FLAG: Readonly<Record<string, SettingKey>> = {
  store: "store",
  "log-level": "logLevel",
  "log-format": "logFormat",
  "state-dir": "stateDir",
  node: "node",
  address: "address",
  backend: "backend",
  listen: "listen",
  "check-interval": "checkInterval",
  "heartbeat-interval": "heartbeatInterval",
  "election-timeout": "electionTimeout",
  "session-ttl": "sessionTtl",
  "pin-root": "pinRoot",
  "allow-lockout": "allowLockout",
  source: "source.url",
  branch: "source.branch",
  "source-path": "source.path",
  "source-interval": "source.interval",
};

/** Of commands that would delete all there is. */
export const EMPTY_FLAGS = {
  "allow-empty": Flags.boolean({
    description: "take a source without any object at its word",
    env: "ZTAP_ALLOW_EMPTY",
  }),
};
