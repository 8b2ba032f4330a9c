import fc from "fast-check";
import t from "tap";
import { compile, RulesetCompiler } from "../../src/policy/compile/compile.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { volume } from "../volume.js";

const DOCUMENTS = [
  workload("web@n1 10.0.0.1 app=web [http:80/TCP]"),
  workload("web2@n1 10.0.0.4 app=web [http:8080/TCP]"),
  workload("db@n1 10.0.0.2 app=db"),
  policy("deny", "  podSelector: {}\n  ingress: []\n  egress: []"),
  policy(
    "web",
    "  podSelector: { matchLabels: { app: web } }\n  ingress: [{ ports: [{ port: http }] }]\n  egress: [{ to: { podSelector: { matchLabels: { app: db } } } }]",
  ),
];

t.test("the ruleset does not depend on the order of the objects", async (t) => {
  const digest = compile(objectsOf(DOCUMENTS.join("")), "n1").digest;
  fc.assert(
    fc.property(fc.shuffledSubarray(DOCUMENTS, { minLength: DOCUMENTS.length }), (documents) => {
      const objects = objectsOf(documents.join(""));
      const shuffled = new Map([...objects].reverse());
      return compile(shuffled, "n1").digest === digest;
    }),
    { numRuns: volume(50, 500) },
  );
  t.pass();
});

t.test("subjects that the same policies select share a profile, unless port names differ", async (t) => {
  const { subjects, profiles } = compile(objectsOf(DOCUMENTS.join("")), "n1");
  const [, web, web2] = subjects;
  t.equal(web?.egress.profile, web2?.egress.profile);
  t.not(web?.ingress.profile, web2?.ingress.profile);
  t.equal(profiles.length, 5);
});

t.test("the digest changes with a port, and not with a line number", async (t) => {
  const text = DOCUMENTS.join("");
  const digest = (source: string) => compile(objectsOf(source), "n1").digest;
  t.equal(digest(`# a comment\n\n${text}`), digest(text));
  t.not(digest(text.replace("port: 80,", "port: 81,")), digest(text));
});

t.test("a rule carries its file and line", async (t) => {
  const objects = objectsOf(DOCUMENTS.join(""));
  const lines = DOCUMENTS.join("").split("\n");
  const profile = compile(objects, "n1").profiles.find(({ key }) => key === "egress:default/deny,default/web");
  const rule = profile?.rules[0];
  t.match(lines[(rule?.line ?? 0) - 1], /egress: \[\{ to:/);
  t.equal(rule?.file, "state.yaml");
});

t.test("a rule keeps its identity if its place in the policy's list changes", async (t) => {
  const rulesOf = (...rules: string[]) => {
    const text = policy("p", `  podSelector: {}\n  ingress:\n${rules.map((rule) => `    - ${rule}\n`).join("")}`);
    const { profiles } = compile(objectsOf(`${workload("web@n1 10.0.0.1 app=web")}${text}`), "n1");
    return (profiles[0]?.rules ?? []).map(({ key, index }) => ({ key, index }));
  };
  const [a, b] = ["{ from: [{ ipBlock: { cidr: 10.0.0.0/8 } }], ports: [{ port: 80 }] }", "{ ports: [{ port: 443 }] }"];
  const [first, second] = rulesOf(a, b);
  const turned = "{ ports: [{ port: 80, protocol: TCP }], from: [{ ipBlock: { cidr: 10.0.0.0/8 } }] }";
  t.strictSame(rulesOf("{ ports: [{ port: 22 }] }", b, turned).slice(1), [
    { key: second?.key, index: 1 },
    { key: first?.key, index: 2 },
  ]);
  const twins = rulesOf(a, b, a);
  t.strictSame(twins.slice(0, 2), [first, second], "the first of equal ones keeps what it has");
  t.equal(new Set(twins.map(({ key }) => key)).size, 3, "and the other is another rule");
});

t.test(
  "compiling one state after another equals compiling each alone, and unchanged parts are the same object",
  async (t) => {
    const compiler = new RulesetCompiler();
    const text = (rules: string, labels = "app=web"): string =>
      [
        workload(`web@n1 10.0.0.1 ${labels} [http:80/TCP]`),
        workload("db@n1 10.0.0.2 app=db"),
        policy("web", `  podSelector: { matchLabels: { app: web } }\n  ingress: [${rules}]\n  egress: []`),
        policy("db", "  podSelector: { matchLabels: { app: db } }\n  ingress: [{ ports: [{ port: 5432 }] }]"),
        policy("all", "  podSelector: {}\n  egress: [{ to: { podSelector: { matchLabels: { app: web } } } }]"),
      ].join("");
    const states = [
      text("{ ports: [{ port: 80 }] }"),
      text("{ ports: [{ port: 81 }] }"),
      text("{ ports: [{ port: http }] }"),
      `# one line further down\n${text("{ ports: [{ port: http }] }")}`,
      text("{ ports: [{ port: http }] }", "app=db"),
      text("{ ports: [{ port: 80 }] }").replace(/---\nkind: NetworkPolicy\n.*name: all[^]*$/, ""),
      text("{ ports: [{ port: 80 }] }"),
    ];
    const rulesets = states.map((state) => {
      const ruleset = compiler.compile(objectsOf(state), "n1");
      t.strictSame(ruleset, compile(objectsOf(state), "n1"));
      return ruleset;
    });
    const profileOf = (state: number, key: string) => rulesets[state]?.profiles.find((profile) => profile.key === key);
    t.ok(profileOf(0, "ingress:default/db"));
    t.equal(profileOf(0, "ingress:default/db"), profileOf(1, "ingress:default/db"));
    t.not(profileOf(0, "ingress:default/web"), profileOf(1, "ingress:default/web"));
  },
);
