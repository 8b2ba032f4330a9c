/**
 * A process that commits, again and again, until it is killed. For each commit that was acknowledged
 * it writes one line, `<number> <commit id>`, before it begins the next.
 *
 *     node store-writer.js <store folder> <name> <keep>     keep: revisions that it prunes to; 0 for all;
 *                                                           "opens" to open and close the store for each commit
 */
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { draft, policy } from "../fakes/objects.js";

const [path = "", name = "", keep = "0"] = process.argv.slice(2);
const open = () => openEmbeddedStore({ path, access: "write" }, systemClock);
let store = await open();
const constant = Array.from({ length: 15 }, (_, index) => policy(`constant-${index}`));

for (let attempt = 1; ; attempt += 1) {
  const head = await store.readHead();
  const changing = Array.from({ length: 5 }, (_, index) => policy(`changing-${index}`, 1 + ((head ?? 0) % 65_000)));
  const next = draft([...constant, ...changing, policy(`by-${name}-${attempt}`)], { commitId: `${name}/${attempt}` });
  const result = await store.commit(next, { expectHead: head, fence: null });
  if (result.outcome === "committed") process.stdout.write(`${result.revision.number} ${next.commitId}\n`);
  if (keep === "opens") {
    await store.close();
    store = await open();
  } else if (Number(keep) > 0) await store.prune({ revisions: Number(keep), newerThan: "2027-01-01T00:00:00.000Z" });
}
