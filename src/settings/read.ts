/** Finds the value of each setting in its layers, and reads it as its type. Pure. */
import { OperationError } from "../model/operation-error.js";
import { defaultOf, type Machine } from "./defaults.js";
import { maskCredentials } from "./mask.js";
import type { SettingKey } from "./table.generated.js";
import { Wanted, type Parse } from "./types.js";

/** A value as text, and its origin: `flag --node`, `environment ZTAP_NODE`, `/etc/ztap/config.yaml:3`. */
export interface Given {
  readonly text: string;
  readonly origin: string;
}

/** The values of the flags, the environment or one file. */
export type SettingsLayer = Readonly<Partial<Record<SettingKey, Given>>>;

/** The value in effect; its text is null if the setting is neither set nor has a default. */
export interface Found {
  readonly text: string | null;
  readonly origin: string;
}

export type Find = (key: SettingKey) => Found;

/** The origin of a setting that is not set. */
export const DEFAULT = "default";

/**
 * Returns a function that finds the value in effect.
 * @param layers strongest first
 */
export function createFind(layers: readonly SettingsLayer[], machine: Machine): Find {
  const find: Find = (key) => {
    const given = layers.map((layer) => layer[key]).find((one) => one !== undefined);
    return given ?? { text: defaultOf(key, machine, (other) => find(other).text ?? ""), origin: DEFAULT };
  };
  return find;
}

export interface Read {
  /**
   * Reads a setting that has a default.
   * @throws OperationError `invalid-settings`
   */
  <T>(key: SettingKey, parse: Parse<T>): T;
  /**
   * Reads a setting; null if it is not set.
   * @throws OperationError `invalid-settings`
   */
  optional<T>(key: SettingKey, parse: Parse<T>): T | null;
}

export function createRead(find: Find): Read {
  const read = <T>(key: SettingKey, parse: Parse<T>): T => {
    const found = find(key);
    const value = parse(found.text ?? "");
    if (value instanceof Wanted) throw invalid(key, found, value.wanted);
    return value;
  };
  const optional = <T>(key: SettingKey, parse: Parse<T>) => (find(key).text === null ? null : read(key, parse));
  return Object.assign(read, { optional });
}

/** Returns the error of an invalid setting. Credentials are masked, since the message goes to logs. */
export function invalid(key: SettingKey, { text, origin }: Found, wanted: string): OperationError {
  const shown = text === null ? "nothing" : JSON.stringify(maskCredentials(text));
  return new OperationError("invalid-settings", `${key} (${origin}): found ${shown}, wanted ${wanted}`);
}
