import { closeSync, openSync } from "node:fs";
import { createServer } from "node:net";
import t from "tap";
import { ProcManagementAccess } from "../../src/adapters/system/management-access.js";

const OPEN_FILES = 8_000;

t.test("the event loop turns while the processes' descriptors are looked through", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new TypeError("it listens on a port");
  const files: number[] = [];
  t.teardown(() => files.forEach((fd) => closeSync(fd)));
  for (let count = 0; count < OPEN_FILES; count += 1) files.push(openSync("/dev/null", "r"));
  const reader = new ProcManagementAccess([{ role: "store", host: "127.0.0.1", port: bound.port }]);
  let turns = 0;
  const count = (): void => {
    turns += 1;
    counting = setImmediate(count);
  };
  let counting = setImmediate(count);
  const found = await reader.servers();
  clearImmediate(counting);
  t.match(found, [{ role: "store", port: bound.port }]);
  t.ok(turns >= 5, `${turns} turns`);
});
