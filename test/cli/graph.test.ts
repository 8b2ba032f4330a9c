import t from "tap";
import { Repository } from "../fakes/repository.js";
import { NODES, policy, Ztap } from "./ztap.js";

t.test("graph draws a state, and its differences from another commit or from head", async (t) => {
  const ztap = new Ztap(t);
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  repo.write("p.yaml", policy(80));
  repo.commit();
  const plain = await ztap.json(t, "graph", ["graph", "repo"]);
  t.match(plain, { compared: false, nodes: [{ id: "n0", text: "web", members: ["default/web"] }, {}, {}] });
  const svg = await ztap.run(["graph", "repo"]);
  t.match(svg, { code: 0, stderr: "", stdout: /^<\?xml [^]*>web<[^]*>TCP 80<[^]*<\/svg>\n*$/ });
  t.equal((await ztap.run(["graph", "repo"])).stdout, svg.stdout);

  await ztap.run(["apply", "repo", "--auto-approve"]);
  repo.write("p.yaml", policy(81));
  for (const how of [["--against", "HEAD"], ["--plan"]]) {
    const { edges } = await ztap.json(t, "graph", ["graph", "repo", ...how]);
    t.match(edges, [
      { standing: "kept" },
      { standing: "added", connections: [{ protocol: "TCP", ports: [[81, 81]] }] },
      { standing: "removed", connections: [{ protocol: "TCP", ports: [[80, 80]] }] },
    ]);
  }
  t.match(await ztap.run(["graph", "repo", "--against", "HEAD", "--format", "mermaid"]), {
    code: 0,
    stdout: /==>\|"\+ TCP 81"\|[^]*-\.->\|"- TCP 80"\|/,
  });
  t.match(await ztap.run(["graph", "repo", "--format", "dot"]), { code: 0, stdout: /^digraph ztap \{\n[^]*\n\}\n$/ });
  t.match(await ztap.run(["graph", "repo", "--ref", "HEAD", "--format", "dot"]), { code: 0, stdout: /"TCP 80"/ });
});

t.test("a graph that cannot be drawn is refused with the fix", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("repo/n.yaml", NODES);
  t.match(await ztap.run(["graph", "repo", "--namespace", "none"]), {
    code: 1,
    stderr: /no workload in the namespace "none"/,
  });
  t.match(await ztap.run(["graph", "repo", "--against", "a", "--plan"]), { code: 64 });
  const many = Array.from({ length: 301 }, (_, index) =>
    [
      `{ apiVersion: ztap/v1, kind: Workload, metadata: { name: w${index}, labels: { n: n${index} } }, spec: { addresses: ["10.1.${index >> 8}.${index & 255}"] } }`,
      `{ apiVersion: ztap/v1, kind: NetworkPolicy, metadata: { name: p${index} }, spec: { podSelector: { matchLabels: { n: n${index} } }, ingress: [{ ports: [{ port: ${index + 1} }] }] } }`,
    ].join("\n---\n"),
  );
  ztap.write("large/n.yaml", many.join("\n---\n"));
  const refused = await ztap.json(t, "error", ["graph", "large"], { code: 1 });
  t.match(refused, {
    error: { code: "unsupported", message: /more than 150 nodes or 400 edges.*--namespace.*connectivity/ },
  });
});
