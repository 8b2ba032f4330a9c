/** The fake enforcer is held to what every enforcer guarantees. */
import { enforcerContract } from "../contract/enforcer.js";
import { FakeEnforcer, FakeMachine } from "./enforcer.js";

await enforcerContract("fake", async (_t, test) => {
  const machine = new FakeMachine();
  await test({
    node: "n1",
    workloads: { "demo/a": { cgroup: "a", addresses: [] }, "demo/b": { cgroup: "b", addresses: [] } },
    enforcer: () => new FakeEnforcer(machine),
    remove: () => machine.absent.add("demo/b"),
    restore: () => machine.absent.delete("demo/b"),
    damage: () => machine.items.delete("link/demo/a"),
    refuseChanges() {
      machine.failApply = "the machine refuses";
      return () => (machine.failApply = null);
    },
  });
});
