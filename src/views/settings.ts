/** The settings and their origins, as text or as a document. */
import type { SettingsReport } from "../settings/load.js";
import type { Style } from "./style.js";
import { renderTable } from "./table.js";

export function settingsDocument(report: SettingsReport): object {
  return { formatVersion: 1, ...report };
}

export function renderSettings({ settings, files }: SettingsReport, style: Style): string {
  const rows = settings.map(({ key, value, origin }) => {
    return [key, value ?? "-", origin === "default" ? style.dim(origin) : origin];
  });
  const looked = files.map(({ path, found }) => style.line`${found ? "read     " : "not there"}  ${path}`);
  return [
    renderTable([{ title: "Setting", isName: true }, "Value", "From"], rows, style),
    "",
    style.bold("Configuration files"),
    ...looked,
  ].join("\n");
}
