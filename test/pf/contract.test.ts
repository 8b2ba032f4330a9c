/** The enforcer of pf, over the stand-in of pfctl, is held to what every enforcer guarantees. */
import { enforcerContract } from "../contract/enforcer.js";
import { Machine } from "./machine.js";

await enforcerContract("pf", async (t, test) => {
  const machine = new Machine(t);
  const [first = "", second = ""] = machine.addresses.slice(1);
  await test({
    node: "mac-1",
    workloads: { "demo/a": { cgroup: null, addresses: [first] }, "demo/b": { cgroup: null, addresses: [second] } },
    enforcer: () => machine.enforcer(),
    remove: () => machine.addresses.splice(machine.addresses.indexOf(second), 1),
    restore: () => machine.addresses.push(second),
    damage: () =>
      machine.change(({ anchors }) => ({
        anchors: Object.fromEntries(
          Object.entries(anchors).map(([name, anchor]) => [
            name,
            { ...anchor, rules: anchor.rules.filter((rule) => !/ label "ztap:d:[^"]*_demo\/a"/.test(rule)) },
          ]),
        ),
      })),
    refuseChanges() {
      machine.change(() => ({ failLoad: true }));
      return () => machine.change(() => ({ failLoad: false }));
    },
  });
});
