/** Workloads whose enforcement a plan ends. */
import t from "tap";
import { diffConnectivity } from "../../src/plan/connectivity/diff.js";
import { listUnenforced } from "../../src/plan/unenforced.js";
import { objectsOf, policy, workload } from "../builders/state.js";

const DENY = policy("deny", "  podSelector: {}\n  ingress: []");
const WEB = workload("web@n1 10.0.0.1 app=web");
const DB = workload("db@n1 10.0.0.2 app=db");

const unenforced = (before: string, after: string) => listUnenforced(objectsOf(before), objectsOf(after));

t.test("a removed workload is no longer enforced, and so is one that moved or lost its cgroup", async (t) => {
  t.same(unenforced(WEB + DB + DENY, WEB + DENY), ["default/db"]);
  t.same(unenforced(WEB + DB + DENY, WEB.replace("web@", "").replace("node: n1", "node: n2") + DB + DENY), [
    "default/web",
  ]);
  t.same(unenforced(WEB + DENY, WEB.replace(/ {2}cgroup: .*\n/, "") + DENY), ["default/web"]);
  t.same(unenforced(WEB + DENY, WEB.replace("test/default-web", "test/other") + DENY), ["default/web"]);
  t.same(unenforced(WEB + DB + DENY, ""), ["default/db", "default/web"]);
});

t.test("what was not enforced, or is by another workload, is not among them", async (t) => {
  t.same(unenforced(WEB + DB + DENY, WEB + DB + DENY), []);
  t.same(unenforced(WEB + DB, WEB), [], "no policy isolated it");
  t.same(
    unenforced(WEB + DENY.replace("ingress: []", "ingress: []\n  mode: audit"), DENY),
    [],
    "an audit denies nothing",
  );
  t.same(unenforced(workload("peer 10.0.0.9") + WEB + DENY, WEB + DENY), [], "an external peer");
  t.same(unenforced(WEB + DENY, WEB.replace("name: web", "name: www") + DENY), [], "renamed, with the same cgroup");
  t.same(unenforced(WEB + DENY, WEB.replace("test/default-web", "test").replace("name: web", "name: all") + DENY), []);
  const fewer = WEB.replace("test/default-web", "test/default");
  t.same(unenforced(WEB + DENY, fewer + DENY), ["default/web"], "a name that only begins alike");
  t.same(unenforced(WEB + DENY, WEB), [], "its policy ends: connections open, and are listed as such");
});

t.test("it is told beside the connections, which only seem to close", async (t) => {
  const open = policy("open", "  podSelector: {}\n  ingress: [{}]");
  const { unenforced: names, summary } = diffConnectivity(objectsOf(WEB + DB + open), objectsOf(WEB + open), 100);
  t.same(names, ["default/db"]);
  t.equal(summary.opened, 0);
  t.ok(summary.closed > 0);
});

t.test(
  "a workload that is written as a pattern of the same processes stays enforced; one that is gone does not",
  async (t) => {
    const deny = `---\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: deny }\nspec: { podSelector: {}, ingress: [] }\n`;
    const group = `---\napiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: web, labels: { role: web } }\nspec: { nodeNames: ["web-*"] }\n`;
    const one = (spec: string): string =>
      `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: w }\nspec: ${spec}\n`;
    const typed = one("{ node: web-1, cgroup: system.slice/nginx.service }");
    const unit = one("{ nodeSelector: { matchLabels: { role: web } }, process: { systemdUnit: nginx.service } }");
    const other = one("{ nodeSelector: { matchLabels: { role: web } }, process: { systemdUnit: apache.service } }");
    const list = (before: string, after: string): readonly string[] =>
      listUnenforced(objectsOf(group + deny + before), objectsOf(group + deny + after));
    t.same(list(typed, unit), []);
    t.same(list(unit, unit), []);
    t.same(list(typed, other), ["default/w"]);
    t.same(list(unit, other), ["default/w"]);
    t.same(list(unit, ""), ["default/w"]);
  },
);
