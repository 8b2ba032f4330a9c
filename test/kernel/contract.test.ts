/** The enforcer of eBPF, over real cgroups and this machine's kernel, is held to what every enforcer guarantees. */
import { mkdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { defaultNativeDir, loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { enforcerContract } from "../contract/enforcer.js";
import { Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  let count = 0;
  await enforcerContract("ebpf", async (t, test) => {
    const sandbox = new Sandbox(t);
    count += 1;
    const node = sandbox.node(`contract${count}`);
    const [a, b] = [sandbox.cgroup(`contract${count}-a`), sandbox.cgroup(`contract${count}-b`)];
    const { links } = nodeFolders(DEFAULT_PIN_ROOT, node);
    const native = loadNative();
    await test({
      node,
      workloads: { "demo/a": { cgroup: a, addresses: [] }, "demo/b": { cgroup: b, addresses: [] } },
      enforcer: () => sandbox.enforcer(node),
      remove: () => rmdirSync(join(sandbox.cgroupRoot, b)),
      restore: () => mkdirSync(join(sandbox.cgroupRoot, b)),
      damage: () => rmSync(join(links, "demo__a", "egress")),
      // A new cgroup of demo/b, that takes no further program at one hook: a cgroup has room for 64.
      refuseChanges() {
        const folder = join(sandbox.cgroupRoot, b);
        rmdirSync(folder);
        mkdirSync(folder);
        const { programs } = native.loadObject(join(defaultNativeDir(), "ztap.bpf.o"), "", ["ztap_sendmsg6"], []);
        const fillers = Array.from({ length: 64 }, () =>
          native.linkCreate(programs["ztap_sendmsg6"] ?? -1, folder, "sendmsg6"),
        );
        return () => fillers.forEach((fd) => native.closeFd(fd));
      },
    });
  });
}
