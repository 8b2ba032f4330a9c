/**
 * The flags of the settings, made from the table. A default is only in the help: as a value it would override the file.
 */
import { Flags, type Interfaces } from "@oclif/core";
import { definitionOf, SETTING_KEYS, type SettingDefinition } from "./definitions.js";
import type { SETTINGS, SettingKey } from "./table.generated.js";

type Table = typeof SETTINGS;
type NameOf<K extends SettingKey> = Table[K] extends { readonly flag: infer F extends string } ? F : never;
type FlaggedKey = { [K in SettingKey]: Table[K] extends { readonly flag: string } ? K : never }[SettingKey];
type GlobalKey = { [K in SettingKey]: Table[K] extends { readonly helpGroup: string } ? K : never }[SettingKey];
type Switch<K extends SettingKey> = K extends SettingKey ? (Table[K]["type"] extends "bool" ? K : never) : never;
export type TextFlag = Interfaces.OptionFlag<string | undefined>;
export type BooleanFlag = Interfaces.BooleanFlag<boolean>;
type FlagsOf<K extends SettingKey> = Record<NameOf<Exclude<K, Switch<K>>>, TextFlag> &
  Record<NameOf<Switch<K>>, BooleanFlag>;
type AnyFlags = Record<string, TextFlag | BooleanFlag>;

/** The flags of every command. */
export function globalSettingFlags(): FlagsOf<GlobalKey>;
export function globalSettingFlags(): AnyFlags {
  return toFlags((_, { helpGroup }) => helpGroup !== undefined);
}

/** All other flags of settings. */
export function agentSettingFlags(): FlagsOf<Exclude<FlaggedKey, GlobalKey>>;
export function agentSettingFlags(): AnyFlags {
  return toFlags((_, { helpGroup }) => helpGroup === undefined);
}

/** The flags of some settings, for a command that needs no others. */
export function settingFlags<K extends FlaggedKey>(...keys: readonly K[]): FlagsOf<K>;
export function settingFlags(...keys: readonly SettingKey[]): AnyFlags {
  return toFlags((key) => keys.includes(key));
}

function toFlags(isMeant: (key: SettingKey, definition: SettingDefinition) => boolean): AnyFlags {
  return Object.fromEntries(
    SETTING_KEYS.flatMap((key) => {
      const definition = definitionOf(key);
      const { flag } = definition;
      return flag !== undefined && isMeant(key, definition) ? [[flag, toFlag(definition)] as const] : [];
    }),
  );
}

function toFlag(definition: SettingDefinition): TextFlag | BooleanFlag {
  const { type, choices, variable, helpValue, helpGroup, defaultText } = definition;
  const help = definition.help.replace(/^[A-Z](?=[a-z])/, (first) => first.toLowerCase());
  const common = { env: variable, ...(helpGroup === undefined ? {} : { helpGroup }) };
  if (type === "bool") {
    const flag: BooleanFlag = Flags.boolean({ ...common, description: help });
    return flag;
  }
  const description = `${help} (default: ${defaultText})`;
  // oclif shows the choices, and checks them.
  if (choices !== undefined && helpValue === undefined)
    return Flags.option({ options: choices })({ ...common, description });
  return Flags.string({ ...common, description, ...(helpValue === undefined ? {} : { helpValue }) });
}
