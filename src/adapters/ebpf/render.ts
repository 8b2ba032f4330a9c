/** Lists a ruleset's entries of the kernel's tables, for people who want to see what would be loaded. Pure. */
import type { Ruleset } from "../../model/ruleset.js";
import { imageItems } from "./items.js";
import { lower } from "./lower/lower.js";

/** @throws EnforcerError `limit` */
export function listMapEntries(
  ruleset: Ruleset,
): readonly { readonly kind: string; readonly what: string; readonly value: string }[] {
  return [...imageItems(lower(ruleset)).values()].map(({ key, label, value }) => ({
    kind: key.slice(0, key.indexOf("/")),
    what: label,
    value,
  }));
}
