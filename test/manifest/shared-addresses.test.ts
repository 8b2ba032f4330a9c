import t from "tap";
import { readManifests } from "../../src/manifest/read.js";
import { policy, workload } from "../builders/state.js";

const rule = policy(
  "db",
  "  podSelector: { matchLabels: { app: db } }\n  ingress: [{ from: { podSelector: { matchLabels: { app: web } } } }]",
);
const db = workload("db@n2 10.0.0.2 app=db [sql:5432/TCP]");
const web = workload("web@n1 10.0.0.1 app=web [http:80/TCP]");
const cluster = "---\napiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { identity: address }\n";

function warnings(...texts: readonly string[]): readonly string[] {
  const { diagnostics } = readManifests([{ path: "state.yaml", text: texts.join(""), blobId: "b" }]);
  return diagnostics.filter(({ code }) => code === "ZT5021").map(({ message }) => message);
}

t.test("a rule that lets in more than it names is warned of, unless the sender's node refuses it", (t) => {
  const managed = workload("other@n1 10.0.0.1 app=other");
  const external = workload("other 10.0.0.1 app=other");
  t.same(warnings(db, web, managed, rule), [], "its node asks");
  t.match(
    warnings(db, web, managed, rule, cluster).join(),
    /default\/other, which default\/db does not name.*default\/web/,
  );
  t.match(warnings(db, web, external, rule).join(), /also lets in default\/other/, "no node asks");
  t.same(warnings(db, web, external.replace("10.0.0.1", "10.0.0.3"), rule), []);
  t.same(warnings(db, web, external, rule.replace("app: web", "app: nobody")), []);
  t.end();
});

t.test("what a rule names by its address is named", (t) => {
  const block = rule
    .replace("[{ from: {", "[{ from: [{ ipBlock: { cidr: 10.0.0.0/24 } }, {")
    .replace("} } } }]", "} } }] }]");
  t.same(warnings(db, web, workload("other 10.0.0.1 app=other"), block), []);
  t.end();
});

t.test("on a node with pf, nobody asks", (t) => {
  const pf = "---\napiVersion: ztap/v1\nkind: Node\nmetadata: { name: n1 }\nspec: { enforcement: pf }\n";
  const n2 = "---\napiVersion: ztap/v1\nkind: Node\nmetadata: { name: n2 }\n";
  t.match(
    warnings(db, web, workload("other@n1 10.0.0.1 app=other"), rule, pf, n2).join(),
    /also lets in default\/other/,
  );
  t.end();
});
