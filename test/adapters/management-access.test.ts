import { execFileSync, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { systemClock } from "../../src/adapters/system/clock.js";
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
  const reader = new ProcManagementAccess([{ role: "store", host: "127.0.0.1", port: bound.port }], systemClock);
  let turns = 0;
  const count = (): void => {
    turns += 1;
    counting = setImmediate(count);
  };
  let counting = setImmediate(count);
  const found = await reader.servers();
  clearImmediate(counting);
  t.match(found, { isComplete: true, items: [{ role: "store", port: bound.port }] });
  t.ok(turns >= 5, `${turns} turns`);
});

t.test("a file whose path is longer than PATH_MAX hides no server", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new TypeError("it listens on a port");
  const name = "x".repeat(250);
  const script = `for (1..20) { mkdir "${name}" or die; chdir "${name}" or die } open(F, ">f") or die; $| = 1; print "open"; sleep 600`;
  const folder = mkdtempSync(join(tmpdir(), `ztap-deep-${process.pid}-`));
  const child = spawn("perl", ["-e", script], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  t.teardown(async () => {
    server.close();
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    // Node.js removes no path that is longer than a system call takes.
    execFileSync("rm", ["-rf", folder]);
  });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  const reader = new ProcManagementAccess([{ role: "store", host: "127.0.0.1", port: bound.port }], systemClock);
  t.match(await reader.servers(), { items: [{ role: "store", port: bound.port }] });
});
