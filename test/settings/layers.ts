/** Layers of settings, and machines that have defaults. */
import type { Machine, SettingKey, SettingsLayer } from "../../src/settings/settings.js";

export type Values = Readonly<Partial<Record<SettingKey, string>>>;

export const ROOT: Machine = {
  isRoot: true,
  hostname: "Web-1.example.com",
  home: "/root",
  xdgStateHome: undefined,
  xdgConfigHome: undefined,
};
export const USER: Machine = { ...ROOT, isRoot: false, hostname: "web-1", home: "/home/ada" };

/** All of it was set at one place. */
export function layer(values: Values, origin = "flag --x"): SettingsLayer {
  return Object.fromEntries(Object.entries(values).map(([key, text]) => [key, { text, origin }]));
}
