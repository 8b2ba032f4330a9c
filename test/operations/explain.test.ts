import { Ajv2020 } from "ajv/dist/2020.js";
import { readFileSync } from "node:fs";
import t from "tap";
import { explainConnection } from "../../src/operations/query/explain.js";
import { OperationError } from "../../src/model/operation-error.js";
import { readPortRange } from "../../src/operations/query/port-syntax.js";
import { planChanges } from "../../src/plan/plan.js";
import { diffConnectivity } from "../../src/plan/connectivity/diff.js";
import { eachConnection } from "../../src/policy/reachability/connectivity.js";
import { connectivityDocument, renderConnectivity } from "../../src/views/connectivity.js";
import { explainDocument, renderExplanation } from "../../src/views/explain.js";
import { planDocument, renderPlan } from "../../src/views/plan.js";
import { renderPlanMarkdown } from "../../src/views/plan-markdown.js";
import { plainStyle } from "../../src/views/style.js";
import { objectsOf, policy, stateOf, TEST_SOURCE, workload } from "../builders/state.js";

const WORKLOADS = [
  workload("web@n1 10.0.0.1,fd00::1 app=web [http:80/TCP]"),
  workload("db@n1 10.0.0.2,fd00::2 app=db [sql:5432/TCP,dns:53/TCP,dns:53/UDP]"),
  workload("six@n1 fd00::6 app=six"),
  workload("bare@n1 - app=bare"),
  workload("one@n1 10.0.0.9 app=one"),
  workload("two@n1 10.0.0.9 app=two"),
].join("");
const POLICIES = [
  policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: []"),
  policy(
    "web",
    "  podSelector: { matchLabels: { app: db } }\n  ingress:\n    - from: { ipBlock: { cidr: 10.0.0.0/24 } }\n      ports: [{ port: sql }]\n    - from: { podSelector: { matchLabels: { app: one } } }",
  ),
  policy(
    "all",
    "  podSelector: { matchLabels: { app: db } }\n  ingress: [{ ports: [{ port: 5432 }, { protocol: ICMP, type: 8 }] }]",
  ),
  policy("watch", "  podSelector: { matchLabels: { app: six } }\n  mode: audit\n  ingress: []"),
  policy("four", "  podSelector: { matchLabels: { app: web } }\n  egress: [{ to: { ipBlock: { cidr: 0.0.0.0/0 } } }]"),
].join("");
const OBJECTS = objectsOf(WORKLOADS + POLICIES);

const lineOf = (name: string, text: string) => {
  const lines = (WORKLOADS + POLICIES).split("\n");
  const start = lines.findIndex(
    (line) => line.startsWith(`metadata: { name: ${name},`) && lines[lines.indexOf(line) - 1] === "kind: NetworkPolicy",
  );
  return lines.findIndex((line, index) => index >= start - 2 && line.includes(text)) + 1;
};

/** Each: from, to, and the text; `@policy:TEXT` stands for the line where that text stands in the policy. */
const ANSWERS: readonly (readonly [string, string, string])[] = [
  [
    "default/one",
    "default/db:sql",
    `
Allowed  default/one → default/db 5432/TCP
  egress of default/one: Allowed, no policy isolates it
  ingress of default/db: Allowed, by the first of these rules
    default/all ingress[0]  state.yaml:@all:ingress
    default/web ingress[0]  state.yaml:@web:- from: { ipBlock
    default/web ingress[1]  state.yaml:@web:- from: { podSelector`,
  ],
  [
    "192.0.2.1",
    "db:443",
    `
Denied  192.0.2.1 → default/db 443/TCP
  egress of 192.0.2.1: Allowed, no workload has this address, so no policy isolates it
  ingress of default/db: Denied, isolated, and no rule of these policies allows it
    default/all  state.yaml:@all:apiVersion
    default/deny  state.yaml:@deny:apiVersion
    default/web  state.yaml:@web:apiVersion`,
  ],
  [
    "2001:db8::1",
    "[fd00::6]:443/tcp",
    `
Allowed  2001:db8::1 → default/six 443/TCP
  egress of 2001:db8::1: Allowed, no workload has this address, so no policy isolates it
  ingress of default/six: Allowed, no rule allows it, and the policies only audit
    default/watch  state.yaml:@watch:apiVersion`,
  ],
  [
    "default/web",
    "default/db:8/icmp",
    `
Allowed  default/web → default/db 8.0/ICMP
The answer differs between their addresses:

Allowed  10.0.0.1 → 10.0.0.2 8.0/ICMP
  egress of default/web: Allowed, by the rule
    default/four egress[0]  state.yaml:@four:egress
  ingress of default/db: Allowed, by the rule
    default/all ingress[0]  state.yaml:@all:ingress

Denied  fd00::1 → fd00::2 8.0/ICMP
  egress of default/web: Denied, isolated, and no rule of these policies allows it
    default/four  state.yaml:@four:apiVersion
  ingress of default/db: Allowed, by the rule
    default/all ingress[0]  state.yaml:@all:ingress`,
  ],
];

const ajv = new Ajv2020({ strict: true, strictTypes: false });
const schemas = new Map<string, ReturnType<typeof ajv.compile>>();
const schemaOf = (name: string) => {
  const known = schemas.get(name) ?? compileSchema(name);
  schemas.set(name, known);
  return known;
};
const compileSchema = (name: string) =>
  ajv.compile(
    JSON.parse(readFileSync(new URL(`../../../schemas/output/${name}.schema.json`, import.meta.url), "utf8")) as object,
  );

t.test("explain shows the verdict and the rules behind it, and its document matches the schema", async (t) => {
  const validate = schemaOf("explain");
  for (const [from, to, wanted] of ANSWERS) {
    const explained = explainConnection(OBJECTS, from, to);
    const text = wanted.trim().replace(/@(\w+):(.*)$/gm, (_, name: string, part: string) => `${lineOf(name, part)}`);
    t.equal(renderExplanation(explained, plainStyle), text, `${from} → ${to}`);
    t.ok(validate(explainDocument(explained)), ajv.errorsText(validate.errors));
  }
});

t.test("a port is a number, a name or a type of ICMP", async (t) => {
  const ask = (to: string) => {
    const { protocol, port } = explainConnection(OBJECTS, "default/one", to).question;
    return `${port}/${protocol}`;
  };
  t.equal(ask("default/db:443"), "443/TCP");
  t.equal(ask("default/db:53/udp"), "53/UDP");
  t.equal(ask("default/db:dns/udp"), "53/UDP");
  t.equal(ask("10.0.0.2:3.4/icmp"), "772/ICMP");
  t.same(readPortRange("80"), { protocol: "TCP", first: 80, last: 80 });
  t.same(readPortRange("8000-8010/udp"), { protocol: "UDP", first: 8000, last: 8010 });
  t.same(readPortRange("8/icmp"), { protocol: "ICMP", first: 2048, last: 2303 });
  t.same(readPortRange("3.4/ICMP"), { protocol: "ICMP", first: 772, last: 772 });
  for (const text of ["", "0", "80/", "80/gre", "90-80", "1-2-3", "256/icmp", "x/tcp", "80/tcp/udp", "-"])
    t.throws(() => readPortRange(text), { code: "invalid-query" }, text);
});

t.test("an invalid query is refused with the mistake and the fix", async (t) => {
  const QUESTIONS: readonly (readonly [string, string, string, RegExp])[] = [
    ["default/webb", "default/db:1", "not-found", /no workload default\/webb; did you mean default\/web\?/],
    ["prod/none", "default/db:1", "not-found", /namespace\/workload, or an IP address/],
    ["default/web", "default/db", "invalid-query", /names no port: write default\/db:PORT\/PROTO/],
    ["default/web", "fd00::2:80", "invalid-query", /IPv6 address in brackets/],
    ["default/web", "default/db:sqll", "not-found", /did you mean sql\?/],
    ["default/web", "default/six:http", "not-found", /it has no port names/],
    ["default/web", "default/db:dns", "invalid-query", /several protocols: write dns\/UDP/],
    ["default/web", "192.0.2.1:http", "invalid-query", /only a workload has port names/],
    ["default/web", "default/db:80/gre", "invalid-query", /not TCP, UDP, SCTP or ICMP/],
    ["default/web", "default/db:65536", "invalid-query", /from 1 to 65535/],
    ["10.0.0.256", "default/db:1", "invalid-query", /is not an IP address/],
    ["::ffff:10.0.0.1", "default/db:1", "invalid-query", /write 10\.0\.0\.1/],
    ["10.0.0.9", "default/db:1", "invalid-query", /shared by default\/one, default\/two: name one/],
    ["192.0.2.1", "192.0.2.2:80", "not-found", /neither/],
    ["default/bare", "default/db:80", "no-address", /default\/bare has no addresses/],
    ["default/one", "default/six:80", "no-address", /no addresses of the same family/],
  ];
  for (const [from, to, code, message] of QUESTIONS) {
    try {
      explainConnection(OBJECTS, from, to);
      t.fail(`${from} → ${to}`);
    } catch (error) {
      if (!(error instanceof OperationError)) throw error;
      t.equal(error.code, code, `${from} → ${to}: ${error.message}`);
      t.match(error.message, message);
    }
  }
});

t.test("the document of connectivity matches its schema, in many pieces and when empty", async (t) => {
  const validate = schemaOf("connectivity");
  const many = Array.from({ length: 70 }, (_, index) => workload(`w${index}@n1 10.0.1.${index} app=x`)).join("");
  for (const text of [many, WORKLOADS + POLICIES, ""]) {
    const objects = objectsOf(text);
    const connections = [...eachConnection(objects)];
    const document: unknown = JSON.parse([...connectivityDocument(TEST_SOURCE, connections)].join("\n"));
    t.ok(validate(document), ajv.errorsText(validate.errors));
    t.match(document, { formatVersion: 1, connections });
    t.equal(
      [...renderConnectivity(objects, connections)].join("\n").split("\n").length,
      Math.max(1, connections.length) + (connections.some(({ sharing }) => sharing !== undefined) ? 1 : 0),
    );
  }
});

t.test("a plan shows the connections in text, in markdown and in its document", async (t) => {
  const [before, after] = [stateOf(WORKLOADS + POLICIES), stateOf(WORKLOADS)];
  const plan = planChanges(after, null);
  const diff = diffConnectivity(before.objects, after.objects, 1000);
  const text = renderPlan(plan, diff, plainStyle);
  t.match(text, /Connections: \d+ to open, 0 to close\.\n {4}\+ \S.* → /);
  t.match(
    text,
    /\+ 0\.0\.0\.0\/0, ::\/0 +→ default\/db .* default\/all ingress \(state\.yaml:\d+\), .*…\n/,
    "alike in one line, with why",
  );
  t.match(renderPlanMarkdown(plan, diff, "."), /\*\*\d+ connections to open, 0 to close\. .*#### Opens\n\n- \*\*`/s);
  const { opened, closed, summary } = diff;
  t.match(planDocument(plan, diff), { connectivity: { opened, closed, summary, unknown: null } });
  const none = diffConnectivity(after.objects, after.objects, 1000);
  t.match(renderPlan(plan, none, plainStyle), /No connection opens or closes\./);
  const ports = Array.from({ length: 25 }, (_, index) =>
    policy(
      `p${index}`,
      `  podSelector: { matchLabels: { app: a${index} } }\n  egress: []\n  ingress: [{ from: { ipBlock: { cidr: 192.0.2.0/24 } }, ports: [{ port: ${index + 1} }] }]`,
    ),
  ).join("");
  const apps = Array.from({ length: 25 }, (_, index) => workload(`w${index}@n1 10.0.3.${index} app=a${index}`)).join(
    "",
  );
  const many = diffConnectivity(new Map(), objectsOf(apps + ports), 1000);
  t.match(renderPlan(plan, many, plainStyle), /Connections: 25 to open[^]*\+ … and 5 more connections/);
});

const SHARED = [
  workload("web@n1 10.0.0.1 app=web [http:80/TCP]"),
  workload("other@n1 10.0.0.1 app=other [http:81/TCP]"),
  workload("db@n2 10.0.0.2 app=db [sql:5432/TCP]"),
  policy(
    "db",
    "  podSelector: { matchLabels: { app: db } }\n  ingress: [{ from: { podSelector: { matchLabels: { app: web } } } }]",
  ),
].join("");
const BY_ADDRESS =
  "---\napiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { identity: address }\n";

t.test("a refusal at the source names the destination's policies, and whose address it has", async (t) => {
  const found = explainConnection(objectsOf(SHARED), "default/other", "default/db:5432/tcp");
  t.match(found, {
    verdict: "Denied",
    egress: {
      verdict: "Denied",
      reason: "identity",
      destinations: ["default/db"],
      sharing: ["default/web"],
      policies: [{ policy: "default/db" }],
    },
    ingress: { verdict: "Allowed", reason: "rule", sharing: ["default/web"] },
  });
  t.ok(schemaOf("explain")(JSON.parse(JSON.stringify(explainDocument(found)))));
  const text = renderExplanation(found, plainStyle);
  t.match(
    text,
    /Denied, refused at the source: default\/db does not let it in; it would by the address that it shares with default\/web/,
  );
  t.match(text, /Allowed, by the rule, by the address that it shares with default\/web/);
});

t.test("what only a shared address allows is said, and counted", async (t) => {
  const lines = (text: string): readonly string[] => {
    const objects = objectsOf(text);
    return [...renderConnectivity(objects, eachConnection(objects))].join("\n").split("\n");
  };
  const named = /by the address that default\/other shares with default\/web/;
  t.same(
    lines(SHARED).filter((line) => named.test(line) && /TCP/.test(line)),
    [],
  );
  t.ok(lines(SHARED + BY_ADDRESS).some((line) => line.startsWith("default/other → default/db") && named.test(line)));
  t.match(lines(SHARED + BY_ADDRESS).at(-1), "1 of them is named by no policy, but allowed by an address");
});
