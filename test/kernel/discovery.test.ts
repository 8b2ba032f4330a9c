/** Discovery on this machine: real cgroups. No systemd runs here: a cgroup with its name stands for each unit, as it makes them. */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { openFolderWatch, type OpenFolderWatch } from "../../src/adapters/system/folder-watch.js";
import { ContainerFinder } from "../../src/adapters/discovery/containers.js";
import { LinuxDiscovery } from "../../src/adapters/discovery/discovery.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { findCgroupMount } from "../../src/adapters/system/cgroup-mount.js";
import type { WantedProcesses } from "../../src/interfaces/discovery.js";
import type { ProcessPattern } from "../../src/model/objects.js";
import { HANG_MS } from "../wait.js";
import { discoveryContract } from "../contract/discovery.js";

const root = findCgroupMount()?.point ?? "";
const native = loadNative();
const openWatch: OpenFolderWatch = (notifier) => openFolderWatch(native, notifier);
let count = 0;

// A watch does not keep the process alive; an agent has its timers.
const alive = setInterval(() => undefined, 60_000);
t.teardown(() => clearInterval(alive));

/** Cgroups of a test's own, below slices with its tag. */
class Cgroups {
  readonly tag = `ztdisc${process.pid}x${(count += 1)}`;
  readonly slice = `${this.tag}.slice`;

  make(path: string): string {
    mkdirSync(join(root, path), { recursive: true });
    return path;
  }

  remove(path: string): void {
    const folder = join(root, path);
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory()) this.remove(join(path, entry.name));
    rmdirSync(folder);
  }

  clear(): void {
    for (const name of readdirSync(root)) if (name.startsWith(this.tag)) this.remove(name);
  }
}

async function withCgroups(run: (cgroups: Cgroups) => Promise<void>): Promise<void> {
  const cgroups = new Cgroups();
  try {
    await run(cgroups);
  } finally {
    cgroups.clear();
  }
}

const discoveryWith = (mostFolders?: number): LinuxDiscovery =>
  new LinuxDiscovery({
    cgroupRoot: root,
    containers: new ContainerFinder([], root),
    openWatch,
    ...(mostFolders === undefined ? {} : { mostFolders }),
  });
const want = (workload: string, pattern: ProcessPattern): WantedProcesses => ({ workload, pattern });

await discoveryContract(
  "Linux, cgroups",
  (run) =>
    withCgroups((cgroups) =>
      run({
        discovery: discoveryWith(),
        tag: cgroups.tag,
        startUnit: async (name) => void cgroups.make(`${cgroups.slice}/${name}`),
        stopUnit: async (name) => cgroups.remove(`${cgroups.slice}/${name}`),
        createCgroup: async (path) => void cgroups.make(path),
        startContainer: null,
      }),
    ),
  false,
);

t.test("units in nested slices, of templates and with escaped names are found", (t) =>
  withCgroups(async ({ tag, slice, make }) => {
    const nested = make(`${slice}/${tag}-system.slice/${tag}-system-worker.slice/worker${tag}@3.service`);
    const escaped = make(`${slice}/_cgroup.${tag}.service`);
    const session = make(`${slice}/session-${tag}.scope`);
    const { instances, problems } = await discoveryWith().discover([
      want("shop/a", { systemdUnit: `worker${tag}@*.service` }),
      want("shop/b", { systemdUnit: `cgroup.${tag}.service` }),
      want("shop/c", { systemdUnit: `session-${tag}.scope` }),
      want("shop/d", { systemdUnit: `${tag}-system.slice` }),
    ]);
    t.same(
      instances.map(({ workload, instance, cgroup }) => [workload, instance, cgroup]),
      [
        ["shop/a", `worker${tag}@3.service`, nested],
        ["shop/b", "", escaped],
        ["shop/c", "", session],
        ["shop/d", "", `${slice}/${tag}-system.slice`],
      ],
    );
    t.same(problems, []);
  }),
);

t.test("what users name is no unit: below a service, a scope or a folder that is no slice nothing is looked at", (t) =>
  withCgroups(async ({ tag, slice, make }) => {
    const unit = `fake${tag}.service`;
    make(`${slice}/user@1000.service/app.slice/${unit}`);
    make(`${slice}/${tag}.scope/system.slice/${unit}`);
    make(`${tag}-container/system.slice/${unit}`);
    for (let index = 0; index < 60; index += 1) make(`${slice}/user@1000.service/x${index}`);
    // The bound counts what is looked at: the 60 are not.
    const found = await discoveryWith(50 + readdirSync(root).length).discover([want("shop/a", { systemdUnit: unit })]);
    t.same([found.instances, found.problems], [[], []]);
  }),
);

t.test("a pattern into a folder that grows is bounded, says so, and hides nothing of others", (t) =>
  withCgroups(async ({ tag, slice, make }) => {
    for (let index = 0; index < 300; index += 1) make(`${slice}/user@1000.service/x${index}`);
    make(`${tag}/b.scope`);
    const { instances, problems } = await discoveryWith(200).discover([
      want("shop/a", { cgroup: `${slice}/user@1000.service/*` }),
      want("shop/b", { cgroup: `${tag}/*` }),
    ]);
    t.same(
      instances.filter(({ workload }) => workload === "shop/b").map(({ cgroup }) => cgroup),
      [`${tag}/b.scope`],
    );
    t.ok(instances.length < 200);
    t.match(problems, [/more folders than are searched for cgroups .*user@1000.service\/\*/]);
    t.equal(problems.length, 1);
  }),
);

t.test("a pattern does not leave the cgroup tree", async (t) => {
  const { instances } = await discoveryWith().discover([
    want("shop/a", { cgroup: "../*" }),
    want("shop/b", { cgroup: "./*" }),
    want("shop/c", { cgroup: "cgroup.procs" }),
  ]);
  t.same(instances, []);
});

t.test("a cgroup that is made in place of a missing folder above it wakes the watch", (t) =>
  withCgroups(async (cgroups) => {
    const { tag } = cgroups;
    const discovery = discoveryWith();
    const wanted = [want("shop/a", { cgroup: `${tag}/inner/*` })];
    const controller = new AbortController();
    const events = discovery.watch(controller.signal)[Symbol.asyncIterator]();
    t.equal((await events.next()).done, false);
    const until = async (number: number): Promise<void> => {
      while ((await discovery.discover(wanted)).instances.length !== number) t.not((await events.next()).done, true);
    };
    await until(0);
    for (let round = 0; round < 3; round += 1) {
      cgroups.make(`${tag}/inner/a.scope`);
      await until(1);
      cgroups.remove(tag);
      await until(0);
    }
    controller.abort();
  }),
);

t.test("an address that comes or goes wakes the watch", async (t) => {
  const moduleOf = (path: string): string => JSON.stringify(new URL(`../../src/adapters/${path}.js`, import.meta.url));
  // In a network namespace of its own, without folders: nothing else can wake it.
  const script = `
    import { execFileSync } from "node:child_process";
    import { openFolderWatch } from ${moduleOf("system/folder-watch")};
    import { ContainerFinder } from ${moduleOf("discovery/containers")};
    import { LinuxDiscovery } from ${moduleOf("discovery/discovery")};
    import { loadNative } from ${moduleOf("ebpf/kernel/native")};
    const [alive, stop] = [setInterval(() => undefined, 60_000), new AbortController()];
    const openWatch = (notifier) => openFolderWatch(loadNative(), notifier);
    const discovery = new LinuxDiscovery({ cgroupRoot: null, containers: new ContainerFinder([], ""), openWatch });
    const events = discovery.watch(stop.signal);
    await events.next();
    const ip = (...words) => execFileSync("ip", words);
    const seen = async (wanted) => {
      do await events.next();
      while ((await discovery.discover([])).addresses.join() !== wanted);
      console.log(wanted || "none");
    };
    ip("link", "set", "lo", "up");
    for (const [word, wanted] of [["add", "10.0.0.1"], ["delete", ""], ["add", "10.0.0.1"]]) {
      ip("address", word, "10.0.0.1/32", "dev", "lo");
      await seen(wanted);
    }
    stop.abort();
    await events.next();
    clearInterval(alive);`;
  const { status, stdout, stderr } = spawnSync(
    "unshare",
    ["--net", process.execPath, "--input-type=module", "--eval", script],
    { encoding: "utf8", timeout: HANG_MS },
  );
  t.same({ status, stdout, stderr }, { status: 0, stdout: "10.0.0.1\nnone\n10.0.0.1\n", stderr: "" });
});

t.test("a process that ends while a report of its watch waits ends as it would without", async (t) => {
  // It ends by itself: process.exit() delivers nothing.
  const script = `
    import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
    import { loadNative } from ${JSON.stringify(new URL("../../src/adapters/ebpf/kernel/native.js", import.meta.url))};
    const [native, folder] = [loadNative(), mkdtempSync("/tmp/ztap-watch-")];
    native.watchAdd(native.watchOpen(() => undefined), folder);
    process.once("exit", () => {
      // Nothing tells when the watch's own thread has queued its report: it may well be before the end of this.
      for (let at = 0; at < 2000; at += 1) mkdirSync(folder + "/" + at);
      rmSync(folder, { recursive: true });
    });`;
  const { status, signal, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", script], {
    encoding: "utf8",
  });
  t.same({ status, signal, stderr }, { status: 0, signal: null, stderr: "" });
});
