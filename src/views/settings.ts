/** The settings and their origins, as text or as a document. */
import { printableLine } from "../model/printable.js";
import type { SettingsReport } from "../settings/load.js";
import type { Style } from "./style.js";
import { renderTable } from "./table.js";

export function settingsDocument(report: SettingsReport): object {
  return { formatVersion: 1, ...report };
}

export function renderSettings({ settings, files }: SettingsReport, style: Style): string {
  const rows = settings.map(({ key, value, origin }) => {
    const from = printableLine(origin);
    return [key, value === null ? "-" : printableLine(value), origin === "default" ? style.dim(from) : from];
  });
  const looked = files.map(({ path, found }) => `${found ? "read     " : "not there"}  ${printableLine(path)}`);
  return [
    renderTable(["Setting", "Value", "From"], rows, style),
    "",
    style.bold("Configuration files"),
    ...looked,
  ].join("\n");
}
