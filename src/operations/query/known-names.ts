/** The names that a store knows, for the completion of a shell: one line each, and nothing that a shell could expand. */
import { isLabel, isObjectName } from "../../model/guards.js";
import type { RevisionEntry } from "../../model/state.js";
import type { Store } from "../../interfaces/store.js";

export type KnownNames = "policies" | "workloads" | "nodes" | "namespaces";

/** The namespace of a name without one, as in every manifest. */
const DEFAULT = "default";

/**
 * Returns the names, sorted. Those of policies and workloads are as commands take them: NAMESPACE/NAME, and NAME in the
 * namespace default. With a namespace: the bare names in it. A name that no manifest can have is left out.
 */
export async function listKnownNames(
  store: Store,
  kind: KnownNames,
  namespace: string | null,
): Promise<readonly string[]> {
  const head = await store.readHead();
  const entries = (head === null ? null : await store.readRevision(head))?.entries ?? [];
  switch (kind) {
    case "policies":
      return qualified(entries, "NetworkPolicy", namespace);
    case "workloads":
      return qualified(entries, "Workload", namespace);
    case "namespaces":
      return sorted(
        entries.flatMap(({ kind, name, namespace }) => [namespace, kind === "Namespace" ? name : null]),
        isLabel,
      );
    case "nodes": {
      const nodes = entries.flatMap(({ kind, name }) => (kind === "Node" ? [name] : []));
      const [members, heartbeats] = await Promise.all([store.listMembers(), store.listHeartbeats()]);
      return sorted([...nodes, ...[...members, ...heartbeats].map(({ id }) => id)], isLabel);
    }
  }
}

function qualified(
  entries: readonly RevisionEntry[],
  wanted: RevisionEntry["kind"],
  within: string | null,
): readonly string[] {
  return sorted(
    entries.flatMap(({ kind, name, namespace }) => {
      if (kind !== wanted || (within !== null && namespace !== within)) return [];
      return namespace === (within ?? DEFAULT) ? name : `${namespace ?? ""}/${name}`;
    }),
    (name) => {
      const [first, second, ...rest] = name.split("/");
      return rest.length === 0 && (second === undefined ? isObjectName(first) : isLabel(first) && isObjectName(second));
    },
  );
}

function sorted(names: readonly (string | null)[], isName: (name: string) => boolean): readonly string[] {
  return [...new Set(names.filter((name) => name !== null))].filter(isName).sort();
}
