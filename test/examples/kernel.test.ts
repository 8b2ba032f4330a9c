/** Each example for real: instances of its workloads as pods, and packets between them. */
import t from "tap";
import { readManifests } from "../../src/manifest/read.js";
import { Ztap } from "../cli/ztap.js";
import { Pods } from "../conformance/pods.js";
import { refusalsOf } from "../kernel/denied.js";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { copyExample, EXAMPLES, manifestFiles } from "./example.js";

const reason = whyNot();

function packetOf(line: string) {
  const [, from = "", to = "", protocol = "", port] = /^(\S+) → (\S+) (\w+) (\d+)$/.exec(line) ?? [];
  return { from, to, protocol, port: Number(port) };
}

for (const [name, { open, refused }] of Object.entries(EXAMPLES)) {
  t.test(`${name} in the kernel`, reason === null ? {} : { skip: reason }, async (t) => {
    const ztap = new Ztap(t);
    const objects = [...readManifests(manifestFiles(copyExample(ztap, name))).objects.values()].map(
      ({ object }) => object,
    );
    const lines = [...open, ...refused].map(packetOf);
    const instances = [...new Set(lines.flatMap(({ from, to }) => [from, to]))];
    const addresses = Object.fromEntries(instances.map((one, index) => [one, `10.90.0.${index + 1}`]));

    const sandbox = new Sandbox(t);
    const node = sandbox.node(name);
    const pods = await Pods.start(t, sandbox, addresses, [...new Set(lines.map(({ port }) => port))]);
    // All of it on one node: each instance is a workload of its own, in the cgroup and with the address of its pod, which no
    // agent finds in a network namespace. The rest is as the example says it.
    const here = objects.flatMap((object): readonly object[] => {
      if (object.kind === "Node" || object.kind === "NodeGroup") return [];
      if (object.kind !== "Workload") return [object];
      const own = instances.filter(
        (one) => one.split("@")[0] === `${object.metadata.namespace}/${object.metadata.name}`,
      );
      return own.map((one) => ({
        ...object,
        metadata: { ...object.metadata, name: one.replace(/^.*\//, "").replace("@", "-") },
        spec: {
          ports: object.spec.ports,
          node,
          cgroup: pods.cgroupOf(sandbox, one),
          addresses: [addresses[one]],
        },
      }));
    });
    ztap.write("state/state.yaml", here.map((object) => JSON.stringify(object)).join("\n---\n"));
    const env = { ZTAP_NODE: node, ZTAP_LISTEN: "off" };
    t.match(await ztap.run(["apply", "state", "--auto-approve"], { env }), { code: 0 });
    t.match(await ztap.run(["agent", "--once"], { env }), { code: 0 });

    const refusals = refusalsOf(node);
    t.teardown(refusals.close);
    const probe = async (line: string) => {
      const { from, to, ...packet } = packetOf(line);
      return pods.probe(from, to, packet, refusals.read);
    };
    for (const line of open) t.equal(await probe(line), "open", line);
    for (const line of refused) t.match(await probe(line), /^refused at /, line);
  });
}
