import t from "tap";
import type { Rule } from "../../src/model/ruleset.js";
import { compile } from "../../src/policy/compile/compile.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { objectsOf, policy, workload } from "../builders/state.js";

const placeOf = ({ policy: { namespace, name }, direction, index }: Rule): string =>
  `${namespace}/${name}/${direction}/${index}`;

const PROTOCOLS: Record<string, number> = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58, GRE: 47 };

const WORKLOADS = [
  "apiVersion: ztap/v1\nkind: Namespace\nmetadata: { name: prod, labels: { env: prod } }\n",
  workload("web@n1 10.0.0.1,fd00::1 app=web [http:80/TCP]"),
  workload("db@n1 10.0.0.2,fd00::2 app=db tier=data [sql:5432/TCP,sql:5433/UDP]"),
  workload("db2@n1 10.0.0.3 app=db [sql:6432/TCP]"),
  workload("bare@n1 - app=bare"),
  workload("job@n2 10.1.0.1 app=job", "prod"),
].join("");

/**
 * Each case: the policies, then rows of `direction workload peer port/PROTOCOL → verdict`, with the
 * deciding rule where one allows.
 */
const CASES: readonly { readonly name: string; readonly policies: string; readonly rows: string }[] = [
  { name: "without a policy everything is open", policies: "", rows: "ingress default/web 8.8.8.8 80/TCP → open" },
  {
    name: "a policy without rules isolates what it selects, and nothing else",
    policies: policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: []"),
    rows: `
      ingress default/db  10.0.0.1 5432/TCP → Denied
      egress  default/db  10.0.0.1 5432/TCP → open
      ingress default/web 10.0.0.2 80/TCP   → open`,
  },
  {
    name: "selector peers are addresses of both families",
    policies: policy(
      "p",
      "  podSelector: { matchLabels: { app: db } }\n  ingress:\n    - from: [{ podSelector: { matchLabels: { app: web } } }]\n      ports: [{ port: 5432 }]",
    ),
    rows: `
      ingress default/db 10.0.0.1 5432/TCP → default/p/ingress/0
      ingress default/db fd00::1  5432/TCP → default/p/ingress/0
      ingress default/db 10.0.0.1 5433/TCP → Denied
      ingress default/db 10.0.0.1 5432/UDP → Denied
      ingress default/db 10.0.0.3 5432/TCP → Denied
      ingress default/db fd00::2  5432/TCP → Denied`,
  },
  {
    name: "namespaceSelector alone, and together with podSelector",
    policies:
      policy(
        "all",
        "  podSelector: { matchLabels: { app: web } }\n  ingress:\n    - from: [{ namespaceSelector: { matchLabels: { env: prod } } }]",
      ) +
      policy(
        "both",
        "  podSelector: { matchLabels: { app: db } }\n  ingress:\n    - from: [{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: prod } }, podSelector: { matchLabels: { app: web } } }]",
      ),
    rows: `
      ingress default/web 10.1.0.1 1/TCP → default/all/ingress/0
      ingress default/web 10.0.0.2 1/TCP → Denied
      ingress default/db  10.1.0.1 1/TCP → Denied`,
  },
  {
    name: "the same words in two namespaces mean each its own workloads",
    policies:
      policy("p", "  podSelector: {}\n  ingress: [{ from: [{ podSelector: {} }] }]") +
      policy("p", "  podSelector: {}\n  ingress: [{ from: [{ podSelector: {} }] }]", { namespace: "prod" }),
    rows: `
      ingress default/web 10.0.0.2 1/TCP → default/p/ingress/0
      ingress default/web 10.1.0.1 1/TCP → Denied
      ingress prod/job    10.0.0.2 1/TCP → Denied
      ingress prod/job    10.1.0.1 1/TCP → prod/p/ingress/0`,
  },
  {
    name: "ipBlock with except, and the families apart",
    policies: policy(
      "p",
      '  podSelector: {}\n  egress:\n    - to: [{ ipBlock: { cidr: 10.0.0.0/8, except: [10.9.0.0/16] } }, { ipBlock: { cidr: "::/0" } }]',
    ),
    rows: `
      egress default/web 10.8.255.255 1/TCP → default/p/egress/0
      egress default/web 10.9.0.0     1/TCP → Denied
      egress default/web 10.9.255.255 1/TCP → Denied
      egress default/web 10.10.0.0    1/TCP → default/p/egress/0
      egress default/web 11.0.0.0     1/TCP → Denied
      egress default/web 2001:db8::1  1/TCP → default/p/egress/0`,
  },
  {
    name: "port ranges, protocols without ports, packets without ports",
    policies: policy(
      "p",
      "  podSelector: { matchLabels: { app: web } }\n  ingress:\n    - ports: [{ port: 8000, endPort: 8010 }, { protocol: UDP }]",
    ),
    rows: `
      ingress default/web 9.9.9.9 7999/TCP → Denied
      ingress default/web 9.9.9.9 8000/TCP → default/p/ingress/0
      ingress default/web 9.9.9.9 8010/TCP → default/p/ingress/0
      ingress default/web 9.9.9.9 8011/TCP → Denied
      ingress default/web 9.9.9.9 -/TCP    → Denied
      ingress default/web 9.9.9.9 -/UDP    → default/p/ingress/0
      ingress default/web 9.9.9.9 -/GRE    → Denied`,
  },
  {
    name: "a rule without ports allows every protocol",
    policies: policy(
      "p",
      "  podSelector: { matchLabels: { app: web } }\n  ingress:\n    - from: [{ ipBlock: { cidr: 9.0.0.0/8 } }]",
    ),
    rows: `
      ingress default/web 9.9.9.9 -/GRE → default/p/ingress/0
      ingress default/web 9.9.9.9 1/SCTP → default/p/ingress/0
      ingress default/web 8.9.9.9 1/SCTP → Denied`,
  },
  {
    name: "a port name on ingress is the subject's own, by protocol",
    policies: policy("p", "  podSelector: { matchLabels: { app: db } }\n  ingress:\n    - ports: [{ port: sql }]"),
    rows: `
      ingress default/db  9.9.9.9 5432/TCP → default/p/ingress/0
      ingress default/db  9.9.9.9 5433/UDP → Denied
      ingress default/db2 9.9.9.9 6432/TCP → default/p/ingress/0
      ingress default/db2 9.9.9.9 5432/TCP → Denied`,
  },
  {
    name: "a port name on egress is the peer's, each its own, and nothing on an ipBlock",
    policies: policy(
      "p",
      "  podSelector: { matchLabels: { app: web } }\n  egress:\n    - to: [{ podSelector: { matchLabels: { app: db } } }, { ipBlock: { cidr: 9.0.0.0/8 } }]\n      ports: [{ port: sql }]",
    ),
    rows: `
      egress default/web 10.0.0.2 5432/TCP → default/p/egress/0
      egress default/web 10.0.0.2 6432/TCP → Denied
      egress default/web 10.0.0.3 6432/TCP → default/p/egress/0
      egress default/web 9.9.9.9  5432/TCP → Denied`,
  },
  {
    name: "policies add up, and the first in order is named",
    policies:
      policy("b", "  podSelector: {}\n  ingress: [{ ports: [{ port: 80 }] }]") +
      policy(
        "a",
        "  podSelector: { matchLabels: { app: web } }\n  ingress: [{ ports: [{ port: 443 }] }, { ports: [{ port: 80 }] }]",
      ),
    rows: `
      ingress default/web 9.9.9.9 80/TCP  → default/a/ingress/1
      ingress default/web 9.9.9.9 443/TCP → default/a/ingress/0
      ingress default/db  9.9.9.9 443/TCP → Denied
      ingress default/db  9.9.9.9 80/TCP  → default/b/ingress/0`,
  },
  {
    name: "ICMP by type and code, of both families",
    policies: policy(
      "p",
      "  podSelector: { matchLabels: { app: web } }\n  ingress: [{ ports: [{ protocol: ICMP, type: 8 }, { protocol: ICMP, type: 3, code: 4 }] }]",
    ),
    rows: `
      ingress default/web 9.9.9.9 2048/ICMP   → default/p/ingress/0
      ingress default/web 9.9.9.9 2049/ICMP   → default/p/ingress/0
      ingress default/web 9.9.9.9 772/ICMP    → default/p/ingress/0
      ingress default/web 9.9.9.9 773/ICMP    → Denied
      ingress default/web fd00::9 2048/ICMPv6 → default/p/ingress/0`,
  },
  {
    name: "audit mode passes and says so; an enforced policy beside it decides alone",
    policies:
      policy("audit", "  podSelector: {}\n  mode: audit\n  ingress: [{ ports: [{ port: 80 }] }]") +
      policy("hard", "  podSelector: { matchLabels: { app: db } }\n  ingress: [{ ports: [{ port: 5432 }] }]"),
    rows: `
      ingress default/web 9.9.9.9 80/TCP   → default/audit/ingress/0
      ingress default/web 9.9.9.9 81/TCP   → audit
      ingress default/db  9.9.9.9 5432/TCP → default/hard/ingress/0
      ingress default/db  9.9.9.9 80/TCP   → Denied`,
  },
  {
    name: "a mode for each direction, and a namespace's for policies that say none, whatever API they are of",
    policies:
      "---\napiVersion: ztap/v1\nkind: Namespace\nmetadata: { name: default }\nspec: { mode: audit }\n" +
      policy(
        "split",
        "  podSelector: { matchLabels: { app: web } }\n  mode: { egress: enforce }\n  ingress: []\n  egress: []",
      ) +
      policy("hard", "  podSelector: { matchLabels: { app: db } }\n  mode: enforce\n  ingress: []") +
      policy("plain", "  podSelector: { matchLabels: { app: db } }\n  policyTypes: [Egress]").replace(
        "ztap/v1",
        "networking.k8s.io/v1",
      ),
    rows: `
      ingress default/web 9.9.9.9 80/TCP → audit
      egress  default/web 9.9.9.9 80/TCP → Denied
      ingress default/db  9.9.9.9 80/TCP → Denied
      egress  default/db  9.9.9.9 80/TCP → audit`,
  },
  {
    name: "the cluster's mode where neither policy nor namespace says one",
    policies:
      "---\napiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { mode: audit }\n" +
      "---\napiVersion: ztap/v1\nkind: Namespace\nmetadata: { name: live }\nspec: { mode: enforce }\n" +
      workload("box@n1 10.0.9.1 app=box", "live") +
      policy("shut", "  podSelector: { matchLabels: { app: web } }\n  ingress: []") +
      policy("hard", "  podSelector: { matchLabels: { app: db } }\n  mode: enforce\n  ingress: []") +
      policy("live", "  podSelector: {}\n  ingress: []", { namespace: "live" }),
    rows: `
      ingress default/web 9.9.9.9 80/TCP → audit
      ingress default/db  9.9.9.9 80/TCP → Denied
      ingress live/box    9.9.9.9 80/TCP → Denied`,
  },
  {
    name: "a selector that means a workload without addresses allows nothing",
    policies: policy(
      "p",
      "  podSelector: { matchLabels: { app: web } }\n  ingress: [{ from: [{ podSelector: { matchLabels: { app: bare } } }] }]",
    ),
    rows: "ingress default/web 10.0.0.2 1/TCP → Denied",
  },
];

for (const { name, policies, rows } of CASES) {
  t.test(name, async (t) => {
    const evaluate = createEvaluator(compile(objectsOf(WORKLOADS + policies), null));
    for (const row of rows.trim().split("\n")) {
      const [, direction, subject = "", peer = "", port, protocol = "", wanted] =
        /^\s*(ingress|egress)\s+(\S+)\s+(\S+)\s+(\S+)\/(\S+)\s+→ (.*)$/.exec(row) ?? [];
      const verdict = evaluate({
        workload: subject,
        direction: direction === "ingress" ? "ingress" : "egress",
        peer,
        protocol: PROTOCOLS[protocol] ?? Number.NaN,
        port: port === "-" ? null : Number(port),
      });
      const found =
        verdict.reason === "rule"
          ? placeOf(verdict.rule)
          : verdict.reason === "not-isolated"
            ? "open"
            : verdict.reason === "audit"
              ? "audit"
              : verdict.verdict;
      t.equal(found, wanted, row.trim());
    }
  });
}

t.test("the subjects of a node are its own workloads only", async (t) => {
  const objects = objectsOf(WORKLOADS);
  t.same(
    compile(objects, "n2").subjects.map(({ workload: name }) => name),
    ["prod/job"],
  );
  t.same(compile(objects, "n3").subjects, []);
});

t.test("a workload outside the ruleset has no verdict", async (t) => {
  const evaluate = createEvaluator(compile(objectsOf(WORKLOADS), "n1"));
  t.throws(
    () => evaluate({ workload: "prod/job", direction: "ingress", peer: "10.0.0.1", protocol: 6, port: 1 }),
    RangeError,
  );
});
