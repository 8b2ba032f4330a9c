/** The configuration file that `ztap setup` writes: its text, and whether a person has edited it since. Pure. */
import { Document, isMap } from "yaml";
import { digestOfText } from "../../model/digest.js";
import type { SettingsLayer } from "../../settings/read.js";
import type { SettingKey } from "../../settings/table.generated.js";

/** The settings that setup writes, in the order of the file, each with its comment. */
const WRITTEN = [
  ["node", "Name of this node, as the policy repository calls it."],
  ["address", "host:port where other members reach this node's agent."],
  ["store", "Where revisions are: a folder of this machine alone, or the etcd of a cluster."],
  ["source.url", "The policy repository. The node that leads commits what is merged there."],
  ["source.branch", "Its branch."],
  ["source.path", "The folder of the policies in it."],
  ["etcd.ca", "The authority of etcd's members."],
  ["etcd.cert", "This node's certificate and key. Renewed files are read without a restart."],
  ["etcd.key", ""],
] as const satisfies readonly (readonly [SettingKey, string])[];

export type SetupKey = (typeof WRITTEN)[number][0];
export type SetupValues = Readonly<Partial<Record<SetupKey, string>>>;

export const SETUP_KEYS: readonly SetupKey[] = WRITTEN.map(([key]) => key);

const HEAD = "# Settings of this machine's ztap, written by `ztap setup`. `ztap config show` lists all settings.";
const MARK = "# Unedited, as long as the digest of the lines below is ";
const DIGITS = 16;

/** Returns the text. */
export function configurationText(values: SetupValues): string {
  const document = new Document({});
  for (const [key, comment] of WRITTEN) {
    const value = values[key];
    if (value === undefined || value === "") continue;
    const path = key.split(".");
    document.setIn(path, value);
    if (comment !== "") commentAt(document, path, comment);
  }
  const body = document.toString({ lineWidth: 0 });
  return `${HEAD}\n${MARK}${digestOf(body)}.\n${body}`;
}

/** Puts a comment on the line before an entry. */
function commentAt(document: Document, path: readonly string[], comment: string): void {
  const map = document.getIn(path.slice(0, -1), true);
  const entry = isMap(map) ? map.items.at(-1) : undefined;
  const key = document.createNode(path.at(-1));
  key.commentBefore = ` ${comment}`;
  if (entry !== undefined) entry.key = key;
}

/** Returns whether setup may replace a file: one that it wrote and that was not changed since, or one without any setting. */
export function isReplaceable(text: string, found: SettingsLayer): boolean {
  if (Object.keys(found).length === 0) return true;
  const [head, mark = "", ...body] = text.split("\n");
  return head === HEAD && mark === `${MARK}${digestOf(body.join("\n"))}.`;
}

/** Returns whether a file already sets all of the values. */
export function hasAll(values: SetupValues, found: SettingsLayer): boolean {
  return SETUP_KEYS.every((key) => values[key] === undefined || found[key]?.text === values[key]);
}

function digestOf(body: string): string {
  return digestOfText(body).slice(0, DIGITS);
}
