/** Each example for real: its workloads as pods with the addresses that it gives them, and packets between them. */
import t from "tap";
import { readManifests } from "../../src/manifest/read.js";
import type { Workload } from "../../src/model/objects.js";
import { Ztap } from "../cli/ztap.js";
import { Pods } from "../conformance/pods.js";
import { refusalsOf } from "../kernel/denied.js";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { copyExample, EXAMPLES, manifestFiles } from "./example.js";

const reason = whyNot();

for (const [name, { open, refused }] of Object.entries(EXAMPLES)) {
  t.test(`${name} in the kernel`, reason === null ? {} : { skip: reason }, async (t) => {
    const ztap = new Ztap(t);
    const objects = [...readManifests(manifestFiles(copyExample(ztap, name))).objects.values()].map(
      ({ object }) => object,
    );
    const workloads = objects.filter((object): object is Workload => object.kind === "Workload");
    const nameOf = ({ metadata }: Workload) => `${metadata.namespace}/${metadata.name}`;
    const addresses = Object.fromEntries(workloads.map((one) => [nameOf(one), one.spec.addresses[0] ?? ""]));
    const ports = [...new Set([...open, ...refused].map((line) => Number(/\d+$/.exec(line)?.[0])))];

    const sandbox = new Sandbox(t);
    const node = sandbox.node(name);
    const pods = await Pods.start(t, sandbox, addresses, ports);
    // All of it on one node, in the cgroups of the pods; the rest is as the example says it.
    const here = objects
      .filter(({ kind }) => kind !== "Node")
      .map((object) =>
        object.kind === "Workload"
          ? { ...object, spec: { ...object.spec, node, cgroup: pods.cgroupOf(sandbox, nameOf(object)) } }
          : object,
      );
    ztap.write("state/state.yaml", here.map((object) => JSON.stringify(object)).join("\n---\n"));
    const env = { ZTAP_NODE: node, ZTAP_LISTEN: "off" };
    t.match(await ztap.run(["apply", "state", "--auto-approve"], { env }), { code: 0 });
    t.match(await ztap.run(["agent", "--once"], { env }), { code: 0 });

    const refusals = refusalsOf(node);
    t.teardown(refusals.close);
    const probe = async (line: string) => {
      const [, from = "", to = "", protocol = "", port] = /^(\S+) → (\S+) (\w+) (\d+)$/.exec(line) ?? [];
      return pods.probe(from, to, { protocol, port: Number(port) }, refusals.read);
    };
    for (const line of open) t.equal(await probe(line), "open", line);
    for (const line of refused) t.match(await probe(line), /^refused at /, line);
  });
}
