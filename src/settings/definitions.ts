/** The generated table of settings, for code that iterates over it. */
import { SETTINGS, type SettingKey } from "./table.generated.js";

export interface SettingDefinition {
  readonly type: string;
  readonly choices?: readonly string[];
  /** The `ZTAP_*` variable. */
  readonly variable: string;
  /** Without dashes; some settings have none. */
  readonly flag?: string;
  readonly helpValue?: string;
  readonly helpGroup?: string;
  readonly default?: string;
  /** The default in words. */
  readonly defaultText: string;
  /** One sentence without its full stop. */
  readonly help: string;
}

/** In the order of the schema. */
export const SETTING_KEYS: readonly SettingKey[] = Object.keys(SETTINGS).filter(isSettingKey);

function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTINGS, key);
}

export function definitionOf(key: SettingKey): SettingDefinition {
  return SETTINGS[key];
}
