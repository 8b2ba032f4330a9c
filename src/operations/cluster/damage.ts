/** Damaged records in reports: each is described in place of its content, and the rest of the report is made without it. */
import { StoreError, type DamagedRecord } from "../../interfaces/store.js";

/** The value of a record, or why it cannot be read. */
export type Sound<T> = { readonly value: T; readonly damage: null } | { readonly value: null; readonly damage: string };

/** Waits for a record that only a report needs. Every other failure than damage is thrown. */
export async function readSound<T>(reading: Promise<T>): Promise<Sound<T>> {
  try {
    return { value: await reading, damage: null };
  } catch (error) {
    if (error instanceof StoreError && error.code === "store-damaged") return { value: null, damage: error.message };
    throw error;
  }
}

/** Says which of a node's records are damaged; null for none. */
export function describeDamage(damaged: readonly DamagedRecord[], node: string): string | null {
  const whats = [...new Set(damaged.filter((record) => record.node === node).map(({ what }) => what))];
  if (whats.length === 0) return null;
  return `its ${whats.join(" and its ")} in the store ${whats.length === 1 ? "is" : "are"} damaged, and not used: the agent writes it again, or \`ztap cluster leave ${node}\` removes it`;
}

/** Describes the damaged records that belong to no node. */
export function describeStrays(damaged: readonly DamagedRecord[]): readonly string[] {
  return damaged.filter(({ node }) => node === null).map(({ key }) => `the store's record ${key} belongs to no node`);
}
