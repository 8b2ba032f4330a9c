/** Containers of a real containerd, by its CRI. */
import t from "tap";
import { ContainerFinder } from "../../src/adapters/discovery/containers.js";
import { CriRuntime } from "../../src/adapters/discovery/cri.js";
import { LinuxDiscovery } from "../../src/adapters/discovery/discovery.js";
import { findCgroupMount, type CgroupMount } from "../../src/adapters/system/cgroup-mount.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { WantedProcesses } from "../../src/interfaces/discovery.js";
import type { ContainerPattern } from "../../src/model/objects.js";
import { Containerd, IMAGE, whyNoContainerd } from "./containerd.js";

const want = (workload: string, container: ContainerPattern): WantedProcesses => ({ workload, pattern: { container } });

function discoveryOf(mount: CgroupMount, socket: string, lookMs?: number): LinuxDiscovery {
  const runtime = new CriRuntime({ socket, mount, clock: systemClock, ...(lookMs === undefined ? {} : { lookMs }) });
  return new LinuxDiscovery({
    cgroupRoot: mount.point,
    containers: new ContainerFinder([runtime], mount.point),
    openWatch: null,
  });
}

t.test(
  "containers of pods are found by the names and labels of both",
  { skip: whyNoContainerd() ?? false },
  async (t) => {
    const mount = findCgroupMount();
    if (mount === null) throw new Error("no cgroup v2 is mounted");
    const containerd = new Containerd();
    t.teardown(() => containerd.clear());
    await containerd.start();
    const id = await containerd.run({ pod: "web-7f", container: "nginx", labels: { app: "web" } });
    await containerd.run({ pod: "agent", container: "main", isOnHostNetwork: true });
    const discovery = discoveryOf(mount, containerd.socket, 5_000);
    const find = async (pattern: ContainerPattern) => discovery.discover([want("shop/web", pattern)]);

    const { instances, problems } = await find({ name: "shop_web-*_nginx" });
    t.same(problems, []);
    t.match(instances, [{ instance: "shop_web-7f_nginx", cgroup: id, addresses: [/^10\.99\.0\.\d+$/] }]);
    t.equal((await find({ labels: { app: "web" } })).instances.length, 1, "a label of the pod");
    t.equal((await find({ labels: { app: "db" } })).instances.length, 0);
    t.equal((await find({ image: IMAGE })).instances.length, 2);
    t.equal((await find({ image: "registry.example.com/shop/db:*" })).instances.length, 0);
    t.match((await find({ name: "shop_agent_main" })).instances, [{ addresses: [] }], "the node's own addresses");

    await find({ name: "shop_web-*_nginx" });
    await containerd.freeze();
    const frozen = await find({ name: "shop_web-*_nginx" });
    t.match(frozen.problems, [/^CRI at .* cannot be asked for containers/]);
    t.same(frozen.instances, instances, "what still runs is still known");
    containerd.thaw();
    await containerd.removeAll();
    t.same(await find({ name: "*" }).then((found) => [found.instances, found.problems]), [[], []]);
  },
);
