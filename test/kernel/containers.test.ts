/** Containers of a real podman: which are found, in which cgroup, with which addresses, and what a silent runtime hides. */
import { mkdirSync, rmdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { openFolderWatch } from "../../src/adapters/system/folder-watch.js";
import { ContainerFinder } from "../../src/adapters/discovery/containers.js";
import { LinuxDiscovery } from "../../src/adapters/discovery/discovery.js";
import { DockerRuntime } from "../../src/adapters/discovery/docker.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { findCgroupMount, type CgroupMount } from "../../src/adapters/system/cgroup-mount.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { WantedProcesses } from "../../src/interfaces/discovery.js";
import type { ContainerPattern } from "../../src/model/objects.js";
import { discoveryContract } from "../contract/discovery.js";
import { Podman, whyNoPodman } from "./podman.js";

const IMAGE = "registry.example.com/shop/web:1";
const skip = whyNoPodman();
let count = 0;

function need<T>(value: T | null): T {
  if (value === null) throw new Error("no cgroup v2 is mounted");
  return value;
}

async function withPodman(run: (podman: Podman, mount: CgroupMount, tag: string) => Promise<void>): Promise<void> {
  const podman = new Podman();
  try {
    await podman.start();
    await run(podman, need(findCgroupMount()), `ztpod${process.pid}x${(count += 1)}`);
  } finally {
    await podman.clear();
  }
}

function discoveryOf(mount: CgroupMount, sockets: readonly string[], lookMs?: number): LinuxDiscovery {
  const native = loadNative();
  const bound = lookMs === undefined ? {} : { lookMs };
  const runtimes = sockets.map(
    (socket) => new DockerRuntime({ product: "podman", socket, mount, clock: systemClock, ...bound }),
  );
  return new LinuxDiscovery({
    cgroupRoot: mount.point,
    containers: new ContainerFinder(runtimes, mount.point),
    openWatch: (notifier) => openFolderWatch(native, notifier),
  });
}

const want = (workload: string, container: ContainerPattern): WantedProcesses => ({ workload, pattern: { container } });

if (skip === null)
  await discoveryContract("Linux, podman", (run) =>
    withPodman(async (podman, mount, tag) => {
      const made: string[] = [];
      const make = async (path: string): Promise<void> => {
        const parts = path.split("/");
        for (const [index] of parts.entries()) {
          const folder = join(mount.point, ...parts.slice(0, index + 1));
          if (!made.includes(folder)) made.push(folder);
          mkdirSync(folder, { recursive: true });
        }
      };
      try {
        await run({
          discovery: discoveryOf(mount, [podman.socket]),
          tag,
          startUnit: (name) => make(`${tag}.slice/${name}`),
          stopUnit: async (name) => {
            const folder = join(mount.point, `${tag}.slice`, name);
            rmdirSync(folder);
            made.splice(made.indexOf(folder), 1);
          },
          createCgroup: make,
          startContainer: (container) => podman.run(container),
        });
      } finally {
        for (const folder of made.toReversed()) rmdirSync(folder);
      }
    }),
  );
else t.test("discovery: Linux, podman", { skip }, async () => undefined);

t.test("a container has the addresses that the host gave it, and its own cgroup", { skip: skip ?? false }, (t) =>
  withPodman(async (podman, mount, tag) => {
    await podman.run({ name: `${tag}-bridge`, image: IMAGE, labels: { app: tag } });
    await podman.run({ name: `${tag}-none`, image: IMAGE, network: "none" });
    await podman.run({ name: `${tag}-host`, image: IMAGE, network: "host" });
    await podman.run({ name: `${tag}-shared`, image: IMAGE, network: `container:${tag}-bridge` });
    const discovery = discoveryOf(mount, [podman.socket]);
    const { instances, problems } = await discovery.discover([want("shop/web", { name: `${tag}-*` })]);
    t.same(problems, []);
    const ip = await podman.inspect(`${tag}-bridge`, "{{.NetworkSettings.IPAddress}}");
    t.match(ip, /^10\.88\./);
    t.same(
      instances.map(({ instance, addresses }) => [instance, addresses]),
      [
        [`${tag}-bridge`, [ip]],
        [`${tag}-host`, []],
        [`${tag}-none`, ["127.0.0.1"]],
        [`${tag}-shared`, [ip]],
      ],
      "no address at all would stand for the node's own",
    );
    for (const { instance, cgroup } of instances)
      t.equal(cgroup, `libpod_parent/libpod-${await podman.inspect(instance, "{{.Id}}")}`);
    const twice = discoveryOf(mount, [podman.socket, podman.socket]);
    t.equal((await twice.discover([want("shop/web", { name: `${tag}-*` })])).instances.length, 4, "each is found once");
  }),
);

t.test("a watch wakes when a container comes, is restarted, and goes", { skip: skip ?? false }, (t) =>
  withPodman(async (podman, mount, tag) => {
    const discovery = discoveryOf(mount, [podman.socket]);
    const wanted = [want("shop/web", { labels: { app: tag } })];
    const controller = new AbortController();
    const events = discovery.watch(controller.signal)[Symbol.asyncIterator]();
    const until = async (number: number): Promise<void> => {
      while ((await discovery.discover(wanted)).instances.length !== number) t.not((await events.next()).done, true);
    };
    await until(0);
    await podman.run({ name: `${tag}-a`, image: IMAGE, labels: { app: tag } });
    await until(1);
    await podman.restart(`${tag}-a`);
    await until(1);
    await podman.remove(`${tag}-a`);
    await until(0);
    controller.abort();
    let next = await events.next();
    while (next.done !== true) next = await events.next();
  }),
);

t.test(
  "a runtime that does not answer is a problem, and takes nothing away that still runs",
  { skip: skip ?? false },
  (t) =>
    withPodman(async (podman, mount, tag) => {
      await podman.run({ name: `${tag}-a`, image: IMAGE });
      await podman.run({ name: `${tag}-b`, image: IMAGE });
      // Takes every connection, and says nothing.
      const silent = createServer(() => undefined).listen(join(podman.folder, "silent.sock"));
      const discovery = discoveryOf(mount, [join(podman.folder, "silent.sock"), podman.socket], 3_000);
      const wanted = [want("shop/web", { name: `${tag}-*` })];
      const first = await discovery.discover(wanted);
      t.equal(first.instances.length, 2, "what the other one knows is found");
      t.match(first.problems, [/silent\.sock cannot be asked for containers/]);
      silent.close();
      await podman.remove(`${tag}-b`);
      await podman.freeze();
      const frozen = await discovery.discover(wanted);
      t.match(frozen.instances, [{ instance: `${tag}-a` }]);
      t.match(frozen.problems, [/podman\.sock cannot be asked for containers/]);
      podman.thaw();
      await podman.stopServing();
      t.match((await discovery.discover(wanted)).instances, [{ instance: `${tag}-a` }]);
      await podman.serve();
      t.match(await discovery.discover(wanted), { instances: [{ instance: `${tag}-a` }], problems: [] });
    }),
);
