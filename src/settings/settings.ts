/**
 * Settings: a flag overrides a variable, a variable overrides a file, a file overrides the default. Turns layers of
 * texts into typed settings, or an error. Pure.
 */
import { SETTING_KEYS } from "./definitions.js";
import type { Machine } from "./defaults.js";
import { maskCredentials } from "./mask.js";
import { createFind, createRead, DEFAULT, invalid, type Find, type SettingsLayer } from "./read.js";
import { readSettings, type SettingValues } from "./settings.generated.js";
import type { SettingKey } from "./table.generated.js";

export type { Machine } from "./defaults.js";
export type { SettingsLayer } from "./read.js";
export type { ElectionSettings, HistorySettings, SourceSettings } from "./settings.generated.js";
export type { SettingKey } from "./table.generated.js";

export interface Settings extends SettingValues {
  /** False if the name comes from the host name. */
  readonly isNodeNamed: boolean;
  /** False if the store is the default of the user: neither `store` nor `stateDir` is set. */
  readonly isStoreNamed: boolean;
}

/**
 * Returns the settings.
 * @param layers strongest first
 * @throws OperationError `invalid-settings`, which names the origin of the wrong value
 */
export function resolveSettings(layers: readonly SettingsLayer[], machine: Machine): Settings {
  const find = createFind(layers, machine);
  const settings = readSettings(createRead(find));
  checkTimes(settings, find);
  checkEtcd(settings, find);
  checkVerify(settings, find);
  checkPollHook(settings, find);
  const isSet = (key: SettingKey): boolean => find(key).origin !== DEFAULT;
  return { ...settings, isNodeNamed: isSet("node"), isStoreNamed: isSet("store") || isSet("stateDir") };
}

export interface SettingRow {
  readonly key: SettingKey;
  /** As text, without credentials; null if the setting is neither set nor has a default. */
  readonly value: string | null;
  readonly origin: string;
}

/** Returns every setting with its value and origin. */
export function listSettings(layers: readonly SettingsLayer[], machine: Machine): readonly SettingRow[] {
  const find = createFind(layers, machine);
  return SETTING_KEYS.map((key) => {
    const { text, origin } = find(key);
    return { key, value: text === null ? null : maskCredentials(text), origin };
  });
}

/** Checks the relation of the times. A default is never reported as the wrong value; then heartbeatInterval is. */
function checkTimes({ election }: SettingValues, find: Find): void {
  const interval = find("heartbeatInterval");
  for (const key of ["electionTimeout", "sessionTtl"] as const) {
    if (election[`${key}Ms`] >= 2 * election.heartbeatIntervalMs) continue;
    const found = find(key);
    throw found.origin === DEFAULT
      ? invalid("heartbeatInterval", interval, `at most half of ${key}, which is ${found.text} (${found.origin})`)
      : invalid(key, found, `at least twice heartbeatInterval, which is ${interval.text} (${interval.origin})`);
  }
}

/** Pairs of which each needs the other. */
const ETCD_PAIRS = [
  ["cert", "key"],
  ["user", "passwordFile"],
] as const;

function checkEtcd({ store, etcd }: SettingValues, find: Find): void {
  for (const [one, other] of ETCD_PAIRS) {
    if ((etcd[one] === null) === (etcd[other] === null)) continue;
    const [set, missing] = etcd[one] === null ? [other, one] : [one, other];
    const { origin } = find(`etcd.${set}`);
    throw invalid(`etcd.${missing}`, find(`etcd.${missing}`), `a value, since etcd.${set} (${origin}) is set`);
  }
  const tls = (["ca", "cert"] as const).find((key) => etcd[key] !== null);
  if (store.kind === "etcd" && !store.tls && tls !== undefined)
    throw invalid("store", find("store"), `etcds://, since etcd.${tls} (${find(`etcd.${tls}`).origin}) is set`);
}

/** Refuses `since` without signers: it would look like a check and check nothing. */
function checkVerify({ source: { verify } }: SettingValues, find: Find): void {
  if (verify.since !== null && verify.sshSigners === null && verify.openpgpKeys === null)
    throw invalid(
      "source.verify.since",
      find("source.verify.since"),
      "sshSigners or openpgpKeys beside it: who may sign",
    );
}

/** Refuses an endpoint that anybody could use. */
function checkPollHook({ pollHook }: SettingValues, find: Find): void {
  if (pollHook.listen !== null && pollHook.secretFile === null)
    throw invalid(
      "pollHook.secretFile",
      find("pollHook.secretFile"),
      `a file, since pollHook.listen (${find("pollHook.listen").origin}) is set`,
    );
}
