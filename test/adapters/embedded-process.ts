/**
 * Another process with the embedded store: commits a state of so many policies on head, or only reads.
 * Writes the head to stdout, or the error's code and message; ends with 0 either way.
 *
 *     node embedded-process.js <store folder> <number of policies | "read">
 */
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { StoreError } from "../../src/interfaces/store.js";
import { draft, policy } from "../fakes/objects.js";

const [path = "", count = "1"] = process.argv.slice(2);

// Another user, from here on: a checkout below root's home could not be loaded by anybody else.
const user = Number(process.env["ZTAP_TEST_USER"] ?? 0);
if (user !== 0) {
  process.setgroups?.([]);
  process.setgid?.(user);
  process.setuid?.(user);
}

try {
  const store = await openEmbeddedStore({ path, access: count === "read" ? "read" : "write" }, systemClock);
  const head = await store.readHead();
  const objects = Array.from({ length: Number(count) || 0 }, (_, index) =>
    policy(`p${index}`, 1 + ((head ?? 0) % 1000)),
  );
  if (count !== "read") await store.commit(draft(objects), { expectHead: head, fence: null });
  process.stdout.write(`${await store.readHead()}\n`);
  await store.close();
} catch (error) {
  if (!(error instanceof StoreError)) throw error;
  process.stdout.write(`${error.code}: ${error.message}\n`);
}
