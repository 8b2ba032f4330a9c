/** Overrides are made and ended once, also where the answer to a write is lost and it is repeated. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock, systemRandom } from "../../src/adapters/system/clock.js";
import { endOverride, listOverrides, override } from "../../src/operations/override/override.js";
import type { Store } from "../../src/interfaces/store.js";
import { objectsOf } from "../builders/state.js";
import { draft } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";
import { commitOnHead } from "../contract/store-commits.js";

/** Each change is made, and made again. */
class ForgetfulStore extends FaultyStore {
  override async changeOverrides(change: Parameters<Store["changeOverrides"]>[0]) {
    await super.changeOverrides(change);
    return super.changeOverrides(change);
  }
}

t.test("a write that is repeated makes one override, and ends it", async (t) => {
  const inner = openMemoryStore(systemClock);
  const store = new ForgetfulStore(inner);
  const node = "apiVersion: ztap/v1\nkind: Node\nmetadata: { name: n1 }\nspec: { addresses: [10.0.0.1] }\n";
  await commitOnHead(inner, draft([...objectsOf(node).values()].map(({ object }) => object)));
  const deps = { store, clock: systemClock, random: systemRandom };
  const order = { kind: "breakglass", target: { node: "n1" }, forMs: 60_000, by: "op@host", reason: "42" } as const;
  const { id } = await override(deps, order);
  t.match(await listOverrides(deps), [{ id, state: "InForce" }]);
  t.equal((await listOverrides(deps)).length, 1);
  t.match(await endOverride(deps, id, "op@host"), { id, ended: { by: "op@host" } });
  t.match(await listOverrides(deps), [{ id, state: "Ended" }]);
  await t.rejects(endOverride(deps, id, "other@host"), { code: "not-found" });
});
