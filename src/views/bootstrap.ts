/** What `ztap cluster bootstrap` made, and the next steps. */
import type { Bootstrapped } from "../operations/bootstrap/bootstrap.js";
import { MEMBER_FOLDER } from "../operations/bootstrap/etcd-settings.js";
import type { Style } from "./style.js";

export function bootstrapDocument({ folder, files, applied, store }: Bootstrapped): object {
  return { formatVersion: 1, folder, store, files, applied };
}

export function renderBootstrapped({ folder, file, files, applied, store }: Bootstrapped, style: Style): string {
  const changed = files.filter(({ outcome }) => outcome === "made" || outcome === "renewed");
  const kept = files.filter(({ outcome }) => outcome === "kept").length;
  const lines = changed.map(({ path, outcome, reason }) =>
    outcome === "made"
      ? style.line`${style.good("made   ")}  ${path}`
      : style.line`${style.warn("renewed")}  ${path}: ${reason ?? ""}`,
  );
  const waiting = files.filter(({ outcome }) => outcome === "absent");
  return [
    ...lines,
    ...(kept > 0 ? [style.line`${style.dim("kept   ")}  ${kept} ${kept === 1 ? "file" : "files"}`] : []),
    ...waiting.map(
      ({ path }) => style.line`${style.warn("waiting")}  ${path}: the node makes its own key; ztap cluster token`,
    ),
    ...(applied ?? []).map((change) => style.line`${style.good("etcd   ")}  ${change}`),
    ...(applied?.length === 0 ? ["Users and roles of etcd are as they should be."] : []),
    "",
    style.line`Store: ${store}`,
    "",
    "Next:",
    ...file.members.map(
      ({ name }) =>
        style.line`  members/${name}/: copy to ${MEMBER_FOLDER} on ${name}; etcd.env is its /etc/default/etcd`,
    ),
    ...(applied === null
      ? [style.line`  ztap cluster bootstrap ${folder} --apply   once etcd runs: makes its users and roles`]
      : []),
    ...(file.nodes.length > 0 ? ["  nodes/NODE/: copy to /etc/ztap/etcd on that node"] : []),
    "Keep this folder off the hosts: its keys can sign a certificate for any name in this cluster.",
  ].join("\n");
}
