import fc from "fast-check";
import t from "tap";
import type { Connection } from "../../src/model/connection.js";
import { diffConnectivity, type PlannedConnection } from "../../src/plan/connectivity/diff.js";
import type { ConnectionGroup } from "../../src/plan/connectivity/groups.js";
import { listSeveral } from "../../src/inventory/several.js";
import { listConnections } from "../../src/policy/reachability/connectivity.js";
import { connectionLines } from "../../src/views/connectivity.js";
import { arbitraryFleet } from "../builders/arbitrary.js";
import { objectsOf, objectsOfDocuments, policy, workload } from "../builders/state.js";
import { volume } from "../volume.js";
import { describe, endsOf, Listing, pairsOf } from "../policy/borders.js";

const WORKLOADS = [
  workload("web@n1 10.0.0.1 app=web [http:80/TCP]"),
  workload("db@n1 10.0.0.2 app=db [sql:5432/TCP]"),
  workload("bare@n1 - app=bare"),
].join("");

const lineOf = ({ from, to, protocol, ports }: Connection): string => `${from} ${to} ${protocol} ${ports.join()}`;

/** What a group stands for, one by one. */
function spreadGroup({ from, to, protocol, ports }: ConnectionGroup, several: ReadonlySet<string>): readonly string[] {
  const isOne = (source: string, target: string): boolean => source === target && !several.has(source);
  return from.flatMap((source) =>
    to.flatMap((target) => (isOne(source, target) ? [] : [lineOf({ from: source, to: target, protocol, ports })])),
  );
}

t.test("the opened and closed connections of a plan are the difference of two connectivity runs", async (t) => {
  const changed = fc
    .tuple(arbitraryFleet, arbitraryFleet, fc.infiniteStream(fc.boolean()))
    .map(([before, other, coins]) => {
      // Most of the state stays: documents of the same place are taken from either.
      const nameOf = (document: object) =>
        "metadata" in document ? JSON.stringify(document.metadata).replace(/"labels".*/, "") : "";
      const merged = new Map(before.map((document) => [nameOf(document), document]));
      for (const document of other) if (coins.next().value === true) merged.set(nameOf(document), document);
      return [before, [...merged.values()]] as const;
    });
  fc.assert(
    fc.property(changed, ([first, second]) => {
      const [before, after] = [objectsOfDocuments(first), objectsOfDocuments(second)];
      const { opened, closed, groups, summary } = diffConnectivity(before, after, 100_000);
      for (const [list, grouped, objects] of [
        [opened, groups.opened, after],
        [closed, groups.closed, before],
      ] as const) {
        const wanted = list.map(lineOf).sort().join("\n");
        const spread = grouped
          .flatMap((group) => spreadGroup(group, listSeveral(objects)))
          .sort()
          .join("\n");
        if (wanted !== spread) throw new Error(`listed\n${wanted}\ngrouped\n${spread}`);
        const counted = grouped.reduce((sum, { connections }) => sum + connections, 0);
        if (counted !== list.length) throw new Error(`groups of ${counted}, list of ${list.length}`);
        const unexplained = list.find(({ causes }) => causes.length === 0);
        if (unexplained !== undefined) throw new Error(`no cause: ${lineOf(unexplained)}`);
      }
      if (summary.opened !== opened.length || summary.closed !== closed.length)
        throw new Error(`counted ${JSON.stringify(summary)}, listed ${opened.length}, ${closed.length}`);
      const [old, now] = [new Listing(listConnections(before)), new Listing(listConnections(after))];
      const [gained, lost] = [new Listing(opened), new Listing(closed)];
      const ends = endsOf(before, after);
      const own = ends.filter(({ isWorkload }) => isWorkload).map((end) => [end, end] as const);
      for (const [from, to] of [...pairsOf(ends), ...own]) {
        const [had, has] = [old.passes(from, to), now.passes(from, to)];
        const wanted = [
          describe((...packet) => has(...packet) && !had(...packet)),
          describe((...packet) => had(...packet) && !has(...packet)),
        ];
        const found = [describe(gained.passes(from, to)), describe(lost.passes(from, to))];
        if (wanted.join() !== found.join())
          throw new Error(`${from.name} → ${to.name}\nwanted ${wanted.join(" | ")}\nfound ${found.join(" | ")}`);
      }
    }),
    { numRuns: volume(200, 10_000) },
  );
  t.pass();
});

t.test("each opened or closed connection names its rules with file and line", async (t) => {
  const allow = (port: number, extra = "") =>
    policy(
      "db",
      `  podSelector: { matchLabels: { app: db } }\n  ingress:\n    - { ports: [{ port: 1 }] }\n    - { from: { podSelector: { matchLabels: { app: web } } }, ports: [{ port: ${port} }] }${extra}`,
    );
  const told = (before: string, after: string) => {
    const { opened, closed } = diffConnectivity(objectsOf(before), objectsOf(after), 1000);
    const between = (list: readonly PlannedConnection[]) =>
      list
        .filter(({ from, to }) => from === "default/web" && to === "default/db")
        .map(({ causes }) =>
          causes
            .map(({ kind, name, direction, index, line }) =>
              [kind, name, direction, index, line].filter((one) => one !== undefined).join(" "),
            )
            .join("; "),
        );
    return { opened: between(opened), closed: between(closed) };
  };
  const line = (text: string, start: string) =>
    1 + text.split("\n").findLastIndex((one) => one.trim().startsWith(start));
  const [first, second] = [WORKLOADS + allow(80), WORKLOADS + allow(81)];
  const rule = `NetworkPolicy default/db ingress 1 ${line(second, "- { from")}`;
  t.same(told(first, second), { opened: [rule], closed: [rule] }, "a rule that says another port");
  const whole = `NetworkPolicy default/db ingress ${line(first, "apiVersion")}`;
  t.same(
    told(first, WORKLOADS),
    { opened: Array.from({ length: 5 }, () => whole), closed: [] },
    "a policy that goes: it was in the way",
  );
  t.same(told(WORKLOADS, first).opened, []);
  t.same(new Set(told(WORKLOADS, first).closed), new Set([whole]), "a policy that comes is in the way");
  const out = WORKLOADS.replace("app: web", "app: box") + allow(80);
  t.same(
    told(first, out),
    { opened: [], closed: [`Workload default/web ${line(WORKLOADS, "apiVersion") * 0 + 2}; ${rule}`] },
    "other labels",
  );
  t.match(
    told(allow(80), first).opened,
    [/^Workload default\/web 2; Workload default\/db \d+$/],
    "workloads that come",
  );
});

t.test("a list that is too long is shortened, with the full count", async (t) => {
  const after = objectsOf(WORKLOADS);
  const whole = diffConnectivity(new Map(), after, 1000);
  t.same(
    whole.opened,
    listConnections(after).map((connection, index) => ({ ...connection, causes: whole.opened[index]?.causes })),
  );
  t.same(diffConnectivity(new Map(), after, 3), { ...whole, opened: whole.opened.slice(0, 3) });
  t.same(diffConnectivity(after, new Map(), 1000), {
    opened: [],
    closed: whole.opened,
    groups: { opened: [], closed: whole.groups.opened },
    summary: { opened: 0, closed: 14 },
    unenforced: [],
    unknown: null,
  });
});

t.test("if an unrestricted connection is restricted to a port, the closed list leaves out that port", async (t) => {
  const before = objectsOf(WORKLOADS);
  const after = objectsOf(
    WORKLOADS + policy("in", "  podSelector: { matchLabels: { app: db } }\n  ingress: [{ ports: [{ port: 80 }] }]"),
  );
  const { closed, opened } = diffConnectivity(before, after, 1000);
  t.same(opened, []);
  t.same(connectionLines(closed.filter(({ from }) => from === "default/web")), [
    "default/web → default/db  TCP 0-79,81-65535",
    "default/web → default/db  UDP",
    "default/web → default/db  SCTP",
    "default/web → default/db  ICMP",
    "default/web → default/db  other protocols",
  ]);
});
