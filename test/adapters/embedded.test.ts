import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "lmdb";
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { storeContract } from "../contract/store.js";
import { ManualClock } from "../fakes/clock.js";

/** Writes past the store, as a disk error or a wrong hand would. */
async function damage(path: string, key: string, value: string | null): Promise<void> {
  const database = open<string, string>({ path, noSubdir: false, encoding: "string", overlappingSync: false });
  database.transactionSync(() => void (value === null ? database.remove(key) : database.put(key, value)));
  await database.close();
}

storeContract("embedded", async (test) => {
  const folder = await mkdtemp(join(tmpdir(), "ztap-store-"));
  const path = join(folder, "store");
  const clock = new ManualClock();
  try {
    await test({
      store: openEmbeddedStore({ path, access: "write" }, clock),
      clock,
      open: async () => openEmbeddedStore({ path, access: "write" }, clock),
      damage: (key, value) => damage(path, key, value),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
