/** A plan as a comment: one golden, and texts that would break out of it. */
import t from "tap";
import type { DesiredState } from "../../src/model/state.js";
import { diffConnectivity, NO_DIFFERENCE } from "../../src/plan/connectivity/diff.js";
import { planAgainst } from "../../src/plan/plan.js";
import type { Change } from "../../src/plan/plan.js";
import { renderPlan } from "../../src/views/plan.js";
import { plainStyle } from "../../src/views/style.js";
import { renderNoPlanMarkdown, renderPlanMarkdown } from "../../src/views/plan-markdown.js";
import { objectsOf, TEST_SOURCE } from "../builders/state.js";

const COMMITS = { before: "a".repeat(40), after: "b".repeat(40) };

function stateAt(commit: string, text: string): DesiredState {
  return { source: { ...TEST_SOURCE, commit }, objects: objectsOf(text) };
}

const workload = (name: string, address: string) => `apiVersion: ztap/v1
kind: Workload
metadata: { name: ${name}, labels: { app: ${name} } }
spec: { addresses: [${address}] }
---
`;
const policy = (port: number) => `apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: db }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress: [{ from: { podSelector: { matchLabels: { app: web } } }, ports: [{ port: ${port} }] }]
`;
const WORKLOADS = workload("web", "192.0.2.1") + workload("db", "192.0.2.2");

const GOLDEN = `<!-- ztap plan: policies -->
### ztap plan of \`policies\`

**1 connection to open, 1 to close. 0 objects to create, 1 to update, 0 to delete.** Plan of commit \`bbbbbbbbbbbb\` against commit aaaaaaaaaaaa.

#### Opens

- **\`default/web → default/db TCP 22\`** by \`default/db ingress[0] (state.yaml:16)\`

#### Closes

- \`default/web → default/db TCP 5432\` by \`default/db ingress[0] (state.yaml:16)\`

#### Objects

<details>
<summary>~ update NetworkPolicy <code>default/db</code> <code>state.yaml:11</code></summary>

\`\`\`diff
              matchLabels:
                app: web
        ports:
-         - port: 5432
+         - port: 22
            protocol: TCP
    podSelector:
      matchLabels:
  …
\`\`\`

</details>
`;

function planned(before: DesiredState, after: DesiredState) {
  return { plan: planAgainst(after, before), diff: diffConnectivity(before.objects, after.objects, 1000) };
}

t.test("summary, opened and closed connections, and the objects in a folded section", async (t) => {
  const { plan, diff } = planned(
    stateAt(COMMITS.before, WORKLOADS + policy(5432)),
    stateAt(COMMITS.after, WORKLOADS + policy(22)),
  );
  t.equal(renderPlanMarkdown(plan, diff, "policies"), GOLDEN);
  const none = renderPlanMarkdown({ ...plan, changes: [] }, NO_DIFFERENCE, ".");
  t.match(none, "<!-- ztap plan: . -->\n### ztap plan\n\n**No changes.** Plan of commit `bbbbbbbbbbbb` against");
});

t.test("intended connections come first, before those that only share an address", async (t) => {
  const host = (name: string, app: string) =>
    workload(name, "192.0.2.1").replace(`labels: { app: ${name} }`, `labels: { app: ${app} }`);
  const others = Array.from({ length: 30 }, (_, index) => host(`a${index}`, `other-${index}`)).join("");
  const state = others + WORKLOADS;
  const { plan, diff } = planned(
    stateAt(
      COMMITS.before,
      state +
        policy(5432)
          .replace(/from: .* ports/, "ports")
          .replace("ingress: [{ ports: [{ port: 5432 }] }]", "ingress: []"),
    ),
    stateAt(COMMITS.after, state + policy(22)),
  );
  t.equal(diff.summary.opened, 31);
  t.same(
    diff.groups.opened.filter(({ sharesAddress }) => !sharesAddress).map(({ from, to }) => [from, to]),
    [[["default/web"], ["default/db"]]],
  );
  const text = renderPlanMarkdown(plan, diff, ".");
  const opens = text.slice(text.indexOf("#### Opens"), text.indexOf("#### Objects"));
  t.match(opens, /^#### Opens\n\n- \*\*`default\/web → default\/db TCP 22`\*\* by .*\n\n<details>/);
  t.match(opens, /<summary>and 30 connections of workloads that no rule selects: they share an address/);
  t.match(opens, /default\/a29|30 workloads|a0/, "and can be seen");
  t.match(renderPlan(plan, diff, plainStyle), /\+ default\/web +→ default\/db +TCP 22 .*\n.*only by a shared address/);
});

const HOSTILE =
  "`` x | <img src=x onerror=y> @everyone #1 **b** [l](https://example.org) </details> --> \n```\n# h\u202e";

/** What is left when everything in fences, code spans and our own tags is taken away. */
function bare(markdown: string): string {
  const outside: string[] = [];
  let fence: string | null = null;
  for (const line of markdown.split("\n")) {
    const run = /^(`{3,})[^`]*$/.exec(line)?.[1];
    if (fence === null && run !== undefined) fence = run;
    else if (fence !== null && line === fence) fence = null;
    else if (fence === null) outside.push(line);
  }
  t.equal(fence, null, "every fence is closed");
  return outside
    .join("\n")
    .replace(/(?<!`)(`+)(?!`)[^\n]*?(?<!`)\1(?!`)/g, "")
    .replace(/<code>[^<>\n]*<\/code>/g, "");
}

t.test("no text from Git breaks out of the markdown", async (t) => {
  const { plan, diff } = planned(
    stateAt(COMMITS.before, WORKLOADS + policy(5432)),
    stateAt(COMMITS.after, WORKLOADS + policy(22)),
  );
  const spoil = ({ after, ...change }: Change): Change => ({
    ...change,
    position: { file: HOSTILE, line: 1 },
    after:
      after?.kind === "NetworkPolicy" ? { ...after, metadata: { ...after.metadata, labels: { x: HOSTILE } } } : after,
  });
  const groups = diff.groups.opened.map((group) => ({
    ...group,
    fromText: HOSTILE,
    causes: [{ kind: "NetworkPolicy" as const, name: HOSTILE, file: HOSTILE, line: 1 }],
  }));
  const markdown = renderPlanMarkdown(
    { ...plan, changes: plan.changes.map(spoil) },
    { ...diff, groups: { opened: groups, closed: groups } },
    HOSTILE,
  );
  const error = {
    code: "ZT2003",
    severity: "error",
    file: HOSTILE,
    line: 1,
    column: 1,
    path: "",
    message: HOSTILE,
    fix: HOSTILE,
  } as const;
  const failure = renderNoPlanMarkdown(HOSTILE, { message: HOSTILE, diagnostics: [error] });
  for (const text of [markdown, failure]) {
    const [marker = "", ...lines] = text.split("\n");
    t.match(marker, /^<!-- ztap plan: [\w./:@-]+ -->$/);
    t.notMatch(marker.slice(4, -3), "--", "no end of a comment within it");
    const left = bare(lines.join("\n"));
    for (const part of ["@", "<img", "](", "onerror", "-->", "\n# ", "\u202e"]) t.notMatch(left, part);
    t.equal(left.split("<details>").length, left.split("</details>").length);
  }
  t.notMatch(markdown, "\u202e");
});

t.test("a comment keeps to its limit, says that it was shortened, and has only complete parts", async (t) => {
  const many = Array.from({ length: 900 }, (_, index) =>
    workload(`w${index}`, `10.0.${index >> 8}.${index & 255}`),
  ).join("");
  const { plan } = planned(stateAt(COMMITS.before, WORKLOADS), stateAt(COMMITS.after, WORKLOADS + many));
  const markdown = renderPlanMarkdown(plan, NO_DIFFERENCE, ".");
  t.ok(markdown.length <= 65_536);
  t.ok(markdown.length > 65_000, "as much as there is room for");
  t.match(markdown, /\*\*The plan is cut: a comment holds 65,536 characters\. `ztap plan` shows the rest\.\*\*$/);
  const left = bare(markdown);
  t.equal(left.split("<details>").length, left.split("</details>").length);
});
