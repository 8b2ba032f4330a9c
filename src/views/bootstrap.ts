/** What `ztap cluster bootstrap` made, and the next steps. */
import type { Bootstrapped } from "../operations/bootstrap/bootstrap.js";
import { MEMBER_FOLDER } from "../operations/bootstrap/etcd-settings.js";
import { ROLES_FILE } from "../operations/bootstrap/roles.js";
import type { Style } from "./style.js";

export function bootstrapDocument({ folder, files, applied, unlisted, store }: Bootstrapped): object {
  return { formatVersion: 1, folder, store, files, applied, unlisted };
}

export function renderBootstrapped(done: Bootstrapped, style: Style): string {
  const { files, applied, unlisted, store } = done;
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
    ...(unlisted ?? []).map(
      (name) =>
        style.line`${style.warn("etcd   ")}  user ${name} is there still, and not in cluster.yaml: --apply --prune deletes it`,
    ),
    "",
    style.line`Store: ${store}`,
    ...nextSteps(done, style),
  ].join("\n");
}

/** What is to be copied and done now: nothing of what was so after an earlier run. */
function nextSteps({ folder, file, files, applied }: Bootstrapped, style: Style): readonly string[] {
  const changed = files.flatMap(({ path, outcome }) => (outcome === "made" || outcome === "renewed" ? [path] : []));
  const isChanged = (path: string): boolean => changed.some((one) => one.startsWith(path));
  const steps = [
    ...file.members
      .filter(({ name }) => isChanged(`members/${name}/`))
      .map(
        ({ name }) =>
          style.line`  members/${name}/: copy to ${MEMBER_FOLDER} on ${name}; etcd.env is its /etc/default/etcd`,
      ),
    ...(applied === null && isChanged(ROLES_FILE)
      ? [style.line`  ztap cluster bootstrap ${folder} --apply   once etcd runs: makes its users and roles`]
      : []),
    ...file.nodes
      .filter((name) => isChanged(`nodes/${name}/`))
      .map((name) => style.line`  nodes/${name}/: copy to /etc/ztap/etcd on ${name}`),
  ];
  if (steps.length === 0) return [];
  const keep = "Keep this folder off the hosts: its keys can sign a certificate for any name in this cluster.";
  return ["", "Next:", ...steps, keep];
}
