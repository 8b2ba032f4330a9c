/** What a graph shows: alike workloads as one, the difference of two states, and the same as `ztap connectivity` lists. */
import t from "tap";
import fc from "fast-check";
import { describePorts } from "../../src/views/connectivity.js";
import { drawGraph, type Graph, type GraphOptions } from "../../src/plan/graph/graph.js";
import { GraphTooLarge } from "../../src/plan/graph/limits.js";
import { diffConnectivity } from "../../src/plan/connectivity/diff.js";
import { listConnections } from "../../src/policy/reachability/connectivity.js";
import { listSeveral } from "../../src/inventory/several.js";
import type { ObjectSet } from "../../src/model/state.js";
import type { Connection } from "../../src/model/connection.js";
import { arbitraryFleet } from "../builders/arbitrary.js";
import { objectsOf, objectsOfDocuments, policy, workload } from "../builders/state.js";
import { volume } from "../volume.js";

const SIGNS = { kept: " ", added: "+", removed: "-" } as const;

function textOf({ nodes, edges }: Graph): readonly string[] {
  const texts = new Map(nodes.map(({ id, text }) => [id, text]));
  return edges.map(({ from, to, entries, standing }) =>
    `${SIGNS[standing]} ${texts.get(from) ?? "?"} → ${texts.get(to) ?? "?"}: ${entries.map(describePorts).join(", ")}`.trim(),
  );
}

const draw = (after: string, options: Partial<Omit<GraphOptions, "before">> & { readonly before?: string } = {}) => {
  const { before, ...rest } = options;
  return drawGraph(objectsOf(after), { before: before === undefined ? null : objectsOf(before), ...rest });
};

const TIERS = [
  ...Array.from({ length: 40 }, (_, index) => workload(`web-${index} 10.0.1.${index + 1} app=web,instance=i${index}`)),
  workload("db 10.0.2.1 app=db"),
].join("");
const DENY = policy("deny", "  podSelector: {}\n  ingress: []\n  egress: []");
const web = (port: number) =>
  policy(
    "web",
    `  podSelector: { matchLabels: { app: web } }\n  egress: [{ to: [{ podSelector: { matchLabels: { app: db } } }], ports: [{ port: ${port} }] }]`,
  );
const db = policy("db", "  podSelector: { matchLabels: { app: db } }\n  ingress: [{}]");

t.test("workloads with the same connections become one node, named by their common labels", async (t) => {
  const graph = draw(TIERS + DENY + web(5432) + db);
  t.strictSame(
    graph.nodes.map(({ text }) => text),
    ["db", "app=web (40)", "every other address"],
  );
  t.strictSame(textOf(graph), ["app=web (40) → db: TCP 5432", "every other address → db: everything"]);
  t.equal(graph.nodes[1]?.members.length, 40);
});

t.test("a difference marks kept, added and removed nodes and edges", async (t) => {
  const before = TIERS + DENY + web(5432) + db + workload("old 10.0.3.1 app=db");
  const after = TIERS + DENY + web(5433) + db + workload("new 10.0.3.2 app=web");
  const graph = draw(after, { before });
  t.strictSame(
    textOf(graph),
    [
      "+ new → db: TCP 5433",
      "- web-0, web-1, web-10 and 37 more → old: TCP 5432",
      "+ web-0, web-1, web-10 and 37 more → db: TCP 5433",
      "- web-0, web-1, web-10 and 37 more → db: TCP 5432",
      "every other address → db: everything",
      "- every other address → old: everything",
    ].sort(byPlace(graph)),
  );
  t.strictSame(
    graph.nodes.filter(({ standing }) => standing !== "kept").map(({ text, standing }) => [text, standing]),
    [
      ["new", "added"],
      ["old", "removed"],
    ],
  );
  const same = draw(after, { before: after });
  t.ok(same.compared);
  t.ok([...same.nodes, ...same.edges].every(({ standing }) => standing === "kept"));
});

/** The lines above say what, not in which order the graph has them. */
function byPlace(graph: Graph): (a: string, b: string) => number {
  const lines = textOf(graph);
  return (a, b) => lines.indexOf(a) - lines.indexOf(b);
}

t.test("only the part of a block that opens is green", async (t) => {
  const outside = (cidr: string) =>
    policy("out", `  podSelector: {}\n  ingress: []\n  egress: [{ to: [{ ipBlock: { cidr: ${cidr} } }] }]`);
  const one = workload("a 10.0.0.1");
  t.strictSame(textOf(draw(one + outside("192.0.2.0/24"), { before: one + outside("192.0.2.0/25") })), [
    "a → 192.0.2.0/25: everything",
    "+ a → 192.0.2.128/25: everything",
  ]);
  const except = outside("0.0.0.0/0, except: [10.0.0.0/8, 192.168.0.0/16]");
  t.strictSame(textOf(draw(one + except)), ["a → every other IPv4 address but 10.0.0.0/8, 192.168.0.0/16: everything"]);
});

t.test("a namespace can be drawn alone, with its peers", async (t) => {
  const text = [workload("a 10.0.0.1", "one"), workload("b 10.0.0.2", "two"), workload("c 10.0.0.3", "three")].join("");
  const open = policy("c", "  podSelector: {}\n  ingress: []\n  egress: []", { namespace: "three" });
  const graph = draw(text + open, { namespace: "one" });
  t.strictSame(
    graph.nodes.map(({ namespace, text: words }) => [namespace, words]),
    [
      ["one", "a"],
      ["two", "b"],
      [null, "every other address"],
      [null, "every other address"],
    ],
  );
});

t.test("above a limit nodes are no longer split by labels; above the next one the graph is refused", async (t) => {
  const pairs = Array.from({ length: 600 }, (_, index) =>
    workload(`w-${index} 10.0.${index >> 8}.${index & 255} group=g${index >> 1}`),
  ).join("");
  t.strictSame(textOf(draw(pairs)).slice(0, 1), ["every workload (600) → every workload (600): everything"]);
  const own = Array.from({ length: 301 }, (_, index) =>
    policy(
      `p-${index}`,
      `  podSelector: { matchLabels: { n: n${index} } }\n  ingress: [{ ports: [{ port: ${index + 1} }] }]`,
    ),
  );
  const many = own.map((_, index) => workload(`w-${index} 10.0.${index >> 8}.${index & 255} n=n${index}`));
  t.throws(() => draw([...many, ...own].join("")), GraphTooLarge);
});

/** Every connection that the graph's groups stand for, of those standings. */
function spell({ nodes, edges }: Graph, standings: readonly string[], objects: ObjectSet): readonly string[] {
  const several = listSeveral(objects);
  const members = new Map(nodes.map(({ id, members: names }) => [id, names]));
  return edges
    .filter(({ standing }) => standings.includes(standing))
    .flatMap(({ from, to, entries }) =>
      (members.get(from) ?? []).flatMap((source) =>
        (members.get(to) ?? [])
          .filter((target) => target !== source || several.has(source))
          .flatMap((target) => entries.map((entry) => lineOf({ from: source, to: target, ...entry }))),
      ),
    )
    .sort();
}

const same = (found: readonly string[], wanted: readonly string[]) => {
  if (found.join("\n") !== wanted.join("\n"))
    throw new Error(`${found.join("\n")}\n\nin place of\n\n${wanted.join("\n")}`);
};

const lineOf = ({ from, to, protocol, ports }: Connection) => `${from} ${to} ${protocol} ${ports.join(";")}`;

t.test("a graph has exactly the connections of the state, or of the difference", async () => {
  fc.assert(
    fc.property(arbitraryFleet, arbitraryFleet, (first, second) => {
      const [before, after] = [objectsOfDocuments(first), objectsOfDocuments(second)];
      const one = drawGraph(after, { before: null });
      same(spell(one, ["kept"], after), listConnections(after).map(lineOf).sort());
      const { opened, closed } = diffConnectivity(before, after, Infinity);
      const both = drawGraph(after, { before });
      same(spell(both, ["added"], after), opened.map(lineOf).sort());
      same(spell(both, ["removed"], before), closed.map(lineOf).sort());
    }),
    { numRuns: volume(150, 1500) },
  );
});
