/** `ztap enforcement render` on any machine, and what the others say where there is no pf. */
import { join } from "node:path";
import t from "tap";
import { NODES, policy, Ztap } from "./ztap.js";

const isLinux = process.platform === "linux";

t.test("render prints the rules for pf, and those that pf cannot express, without root", async (t) => {
  const ztap = new Ztap(t);
  const example = join(ztap.root, "examples/macos");
  const plain = await ztap.run(["enforcement", "render", example, "--node", "mac-1"]);
  t.equal(plain.code, 0, plain.stderr);
  t.match(plain.stdout, /^# Enforcement of node mac-1/);
  t.match(
    plain.stdout,
    /^block drop in quick from any to 10\.77\.1\.2\/32 label "ztap:d:[0-9a-f]{16}:ingress_demo\/db"$/m,
  );
  const document = await ztap.json(t, "enforcement-render", ["enforcement", "render", example, "--node", "mac-1"]);
  t.match(document, { backend: "pf", node: "mac-1", digest: /^[0-9a-f]{64}$/, text: plain.stdout, refused: [] });
  ztap.write("state/n.yaml", NODES);
  ztap.write("state/p.yaml", policy(80).replace("TCP", "SCTP"));
  const refused = await ztap.run(["enforcement", "render", "state", "--node", "n1", "--backend", "pf"]);
  t.match(refused, {
    code: 0,
    stdout: /block drop in quick from any to 10\.0\.0\.1\/32 label "ztap:c:/,
    stderr: /default\/web \(p\.yaml:6\): pf of macOS has no SCTP ports/,
  });
  const both = await ztap.json(t, "enforcement-render", [
    "enforcement",
    "render",
    "state",
    "--node",
    "n1",
    "--backend",
    "pf",
  ]);
  t.match(both, { refused: [{ workload: "default/web", rule: "default/p/ingress/0", file: "p.yaml", line: 6 }] });
});

t.test("render lists the eBPF tables, and refuses a node that the state does not declare", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("state/n.yaml", NODES);
  ztap.write("state/p.yaml", policy(80));
  const text = await ztap.run(["enforcement", "render", "state", "--node", "n1"]);
  t.match(text, { code: 0, stdout: /port .*protocol 6 port 80 of default\/p\/ingress\/0/ });
  const document = await ztap.json(t, "enforcement-render", ["enforcement", "render", "state", "--node", "n1"]);
  t.match(document, { backend: "ebpf", text: null, refused: [] });
  t.ok(
    document.entries.some(
      ({ kind, what }: { kind: string; what: string }) => kind === "link" && what === "ingress program on default/web",
    ),
  );
  const wrong = await ztap.json(t, "error", ["enforcement", "render", "state", "--node", "n2"], { code: 1 });
  t.match(wrong, { error: { code: "not-found", message: /no node n2; did you mean n1/ } });
});

t.test(
  "an agent with backend pf on a machine without pf fails with the reason, and enforces nothing",
  { skip: isLinux ? false : "this is no Linux" },
  async (t) => {
    const ztap = new Ztap(t);
    const agent = await ztap.run(["agent", "--once", "--backend", "pf", "--node", "n1"]);
    t.match(agent, {
      code: 1,
      stdout: "",
      stderr: /--backend pf cannot enforce here: pf is what macOS enforces with, and this is linux/,
    });
    const setup = await ztap.json(t, "error", ["enforcement", "setup", "--backend", "pf", "--auto-approve"], {
      code: 1,
    });
    t.match(setup, { error: { code: "unsupported", message: /set up on macOS, and this is linux/ } });
    t.match(await ztap.run(["enforcement", "setup"]), { code: 64, stderr: /--backend pf is missing/ });
  },
);
