/** Diff status of a node or an edge: in both states, in the later one alone, or in the earlier one alone. */
export type DiffStatus = "kept" | "added" | "removed";
