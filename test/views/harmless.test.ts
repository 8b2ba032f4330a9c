/** Whatever text a view is given: it makes no row, moves no cursor, hides nothing, and turns no reading direction. */
import { readdirSync } from "node:fs";
import t from "tap";
import type { FlowEvent } from "../../src/model/flow.js";
import type { Plan } from "../../src/plan/plan.js";
import type { PolicyReport } from "../../src/operations/policy/report.js";
import { colourStyle, createMark, plainStyle, type Style } from "../../src/views/style.js";
import { renderListing, WatchedListing } from "../../src/views/listing.js";
import { renderWorkloadReport, workloadListing } from "../../src/views/workloads.js";
import type { WorkloadListing } from "../../src/operations/workload/list.js";
import { renderTable } from "../../src/views/table.js";
import { renderApplied } from "../../src/views/apply.js";
import { renderBootstrapped } from "../../src/views/bootstrap.js";
import { renderEnrolled, renderRenewed, renderToken } from "../../src/views/enrolment.js";
import { renderNodeSetup, renderNodeSetupPlan } from "../../src/views/node-setup.js";
import { renderClusterList, renderClusterStatus, renderJoined, renderLeft } from "../../src/views/cluster.js";
import { renderConnectivity } from "../../src/views/connectivity.js";
import { renderDiagnostics, renderValidation } from "../../src/views/diagnostics.js";
import { renderDoctor } from "../../src/views/doctor.js";
import { renderEnforcement, renderRemovable, renderRemoval } from "../../src/views/enforcement.js";
import { renderExplanation } from "../../src/views/explain.js";
import { describeNoFlows, renderFlow, renderFlowHead } from "../../src/views/flows.js";
import { renderInit } from "../../src/views/init.js";
import { renderPlan, renderPlanSummary } from "../../src/views/plan.js";
import {
  renderPolicyEvent,
  renderPolicyReport,
  renderPolicyWritten,
  policyHistoryListing,
  policyListing,
} from "../../src/views/policies.js";
import { renderPolicyDiff, renderPolicyVersion } from "../../src/views/policy-versions.js";
import { renderRefusals, renderRendering } from "../../src/views/rendering.js";
import { revisionListing } from "../../src/views/revisions.js";
import { renderUndo, renderUndone } from "../../src/views/rollout.js";
import { ROLLOUT_VIEWS } from "./hostile-rollout.js";
import { overrideListing, renderEnded, renderOverride } from "../../src/views/overrides.js";
import { renderSettings } from "../../src/views/settings.js";
import { renderSetupPlan, renderSetupResult } from "../../src/views/setup.js";
import { renderApproved, renderNotices, renderResumed, renderSuspended } from "../../src/views/source-control.js";

/** Every control character but the line break, and the controls of the reading direction. */
const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;
const FORGED = "FORGED  InSync";
const EVIL = [
  "x",
  `\n${FORGED}`,
  `\r\n${FORGED}`,
  `\u2028${FORGED}\u0085${FORGED}\u000b${FORGED}`,
  "\u001b[8mhidden\u001b[0m\u001b[2J\u001b]0;title\u0007",
  "\u001b[32;1000;1000;1000;1000mgreen\u009b31mred",
  "\u202egnp.exe\u2066\t",
].join("");

const mark = createMark(() => 0.25);
const STYLES: Readonly<Record<string, Style>> = {
  plain: plainStyle,
  colour: colourStyle(mark),
  "narrow colour": { ...colourStyle(mark), width: 40 },
};

/** The escape sequences of the styles; no other may be in an output. */
const OWN = /\u001b\[(?:1|2|22|31|32|33|39)m/g;

const listing = (x: string): WorkloadListing => ({
  ...{ namespace: x, name: x, kind: "pattern", pattern: x, nodes: [x], found: 1, enforced: 0 },
  ...{ reportedAt: x, ageMs: 1 },
});
const refusal = (x: string) => ({ node: x, what: x, why: x });
const planned = (x: string) => ({ workload: x, pattern: x, instances: [x], reportedAt: x, ageMs: 1 });
const source = (x: string) => ({ location: x, commit: x, dirty: true, author: x, subject: x });
const change = (x: string): Plan["changes"][number] => ({
  action: "update",
  ref: { kind: "Node", namespace: null, name: x },
  before: { apiVersion: "ztap/v1", kind: "Node", metadata: { name: "n" }, spec: { address: "a:1", addresses: [] } },
  after: { apiVersion: "ztap/v1", kind: "Node", metadata: { name: "n" }, spec: { address: x, addresses: [] } },
  position: { file: x, line: 1 },
});
const plan = (x: string): Plan => ({
  base: null,
  against: source(x),
  source: source(x),
  changes: [change(x)],
  summary: { create: 0, update: 1, delete: 0 },
});
const group = (x: string) => ({
  from: { workloads: [x], external: false },
  to: { workloads: [x], external: false },
  fromText: x,
  toText: x,
  protocol: "TCP",
  ports: [[80, 80]],
  connections: 1,
  sharesAddress: false,
  causes: [{ kind: "NetworkPolicy", name: x, direction: "ingress", index: 0, file: x, line: 1 }],
});
const connectivity = (x: string): never =>
  Object({
    opened: [],
    closed: [],
    summary: { opened: 1, closed: 0 },
    unenforced: [x],
    unknown: null,
    groups: { opened: [group(x)], closed: [] },
  }) as never;
const unknown = (x: string): never => Object({ ...Object(connectivity(x)), unknown: x }) as never;
const diagnostic = (x: string) => ({
  ...{ code: x, severity: "error", file: x, line: 1, column: 2, path: x, message: x, wanted: x, fix: x },
});
const suspension = (x: string) => ({ by: x, reason: x, since: x, until: x });
const override = (x: string) =>
  ({ ...suspension(x), id: x, kind: "quarantine", target: { workload: x }, ended: { by: x, at: x } }) as const;
const member = (x: string) => ({ id: x, address: x, joinedAt: x });
const node = (x: string) => ({
  withheld: [],
  shadow: null,
  ...{ id: x, address: x, role: "leader", state: "unhealthy", declared: false, joinedAt: x, lastSeen: x },
  ...{ heartbeatAgeMs: 1, enforcedRevision: 1, rulesetDigest: x, lag: 0, wave: 2, message: x },
  pending: [{ workload: x, message: x }],
});
const cluster = (x: string) => ({
  ...{ backend: "etcd", revision: 1, leader: member(x), nodes: [node(x)], suspension: suspension(x), damaged: [x] },
  rollout: { revision: 2, base: 1, state: "failed", wave: 1, waves: 2, message: x },
  overrides: [override(x)],
  servers: [
    { endpoint: x, databaseBytes: 1, usedBytes: 1, quotaBytes: 2, alarms: [x], problem: null },
    { endpoint: x, databaseBytes: null, usedBytes: null, quotaBytes: null, alarms: [], problem: x },
  ],
  receivers: [{ receiver: x, pending: 1, since: x, problem: x, delivered: 1, lost: 1 }],
  source: {
    ...{ location: x, ref: x, path: x, observedCommit: x, acceptedCommit: x, state: "Rejected", message: x },
    ...{ diagnostics: [diagnostic(x)], rewrittenFrom: x, checkedAt: x, leader: x },
  },
});
const row = (x: string) => ({
  ...{ namespace: x, name: x, version: 1, sourceNode: x, updatedAt: x, revision: 1, commit: x, dirty: true },
});
const report = (x: string): PolicyReport => ({
  policy: { ...row(x), file: x, line: 1 },
  spec: { podSelector: { matchLabels: { app: x } }, policyTypes: ["Ingress"] },
  networkSets: [{ name: x, cidrs: 1 }],
  mode: { ingress: "audit", egress: null },
  subjects: [{ workload: x, node: x }],
  git: { state: "Synced", message: x },
  nodes: [
    {
      ...{ node: x, state: "InSync", message: x, desiredRevision: 1, enforcedRevision: 1, observedAt: x },
      drift: [{ kind: "missing", detail: x }],
      counters: {
        rules: [{ direction: "ingress", index: 0, file: x, line: 1, packets: x }],
        workloads: [{ workload: x, direction: "ingress", mode: "enforce", denied: x, audited: x, refusedCalls: x }],
      },
    } as never,
  ],
  suspension: suspension(x),
  drift: true,
});
const event = (x: string): FlowEvent => ({
  ...{ kind: "verdict", time: x, node: x, workload: x, direction: "ingress", verdict: "denied", hook: "packet" },
  ...{ protocol: x, port: 1, icmp: null, localPort: 1, peer: { address: x, port: 1, workloads: [x] } },
  ...{ rule: { policy: x, file: x, line: 1, index: 0, direction: "ingress" }, policies: [] },
});
const rendered = (x: string, text: string | null): never =>
  Object({
    ...{ backend: "pf", node: x, text, entries: [{ kind: x, what: x, value: x }] },
    refusals: [{ workload: x, message: x, fix: x }],
  }) as never;
const machine = (x: string) => ({
  nodes: [
    {
      ...{
        node: x,
        abi: 1,
        epoch: x,
        entries: { active: { addresses: 1, ports: 1 }, idle: { addresses: 1, ports: 1 } },
      },
      links: [{ workload: x, hook: x, programId: 1, cgroup: x }],
      foreign: [{ cgroup: x, hook: x, programId: 1 }],
      sockets: { found: 2, refused: 1 },
      newborns: { patterns: 2, waiting: 1 },
      delegated: [{ workload: x, cgroup: x }],
    },
  ],
  pf: null,
});
const pf = (x: string) => ({
  ...{ anchor: x, node: x, enabled: false, reference: false, linked: false, rules: [x], tables: [x] },
  packets: [{ label: x, packets: x }],
});
const side = (x: string) => ({
  verdict: "Allowed",
  reason: "rule",
  rules: [{ policy: x, direction: "ingress", index: 0, file: x, line: 1 }],
  policies: [],
});
const explained = (x: string): never => {
  const end = { workload: x, addresses: [x] };
  const sides = { egress: side(x), ingress: side(x) };
  return Object({
    question: { from: end, to: end, protocol: "TCP", port: 1 },
    ...{ verdict: "Allowed", ...sides, pairs: [{ from: x, to: x, verdict: "Allowed", ...sides }] },
  }) as never;
};

const WIDE = { wide: true, headers: true };

/** Each view, given a text in place of every name, message, time, file and commit. */
const versionOf = (x: string) => ({
  version: { ...row(x), action: "created" as const, author: x, reason: "source", subject: x },
  policy: Object({ kind: "NetworkPolicy", metadata: { name: x, namespace: x, labels: { x } }, spec: { x } }),
});
const undo = (x: string) => {
  const source = { location: x, commit: x, subject: x };
  return Object({
    target: { revision: { number: 1, time: x, author: x, reason: x, source } },
    undone: [{ number: 2, time: x, author: x, reason: x, source }],
  });
};

const VIEWS: Readonly<Record<string, (x: string, style: Style) => string | null>> = {
  renderTable: (x, style) =>
    renderTable(
      [x, x],
      [
        [x, style.good(x)],
        [style.dim(x), x],
      ],
      style,
    ),
  renderApplied: (x, style) => renderApplied(Object({ number: 1, source: source(x) }), style),
  renderClusterStatus: (x, style) => renderClusterStatus(Object(cluster(x)), style, { expiring: [x] }),
  renderClusterList: (x, style) => renderClusterList(Object(cluster(x)), style),
  renderBootstrapped: (x, style) =>
    renderBootstrapped(
      Object({
        ...{ folder: x, store: x, applied: [x], file: { members: [{ name: x }], nodes: [x] } },
        unlisted: [x],
        files: ["made", "renewed", "kept", "absent"].flatMap((outcome) =>
          [x, `members/${x}/`, `nodes/${x}/`].map((path) => ({ path, outcome, reason: x })),
        ),
      }),
      style,
    ),
  renderToken: (x, style) => renderToken(Object({ token: { node: x, address: x }, expiresAt: x }), style),
  renderEnrolled: (x, style) =>
    renderEnrolled({ node: x, files: { ca: x, cert: x, key: x }, store: x, warning: x }, style),
  renderRenewed: (x, style) =>
    renderRenewed({ node: x, files: { ca: x, cert: x, key: x }, outcome: "renewed", expiresAt: x }, style),
  renderNodeSetupPlan: (x, style) =>
    renderNodeSetupPlan({ file: x, action: "write", text: x.replaceAll("\n", " "), backup: x, warnings: [x] }, style),
  renderNodeSetup: (x, style) =>
    renderNodeSetup(
      {
        plan: { file: x, action: "replace", text: x, backup: x, warnings: [x] },
        checks: [{ name: x, state: "failed", detail: x, fix: x }],
        isWritten: false,
        units: { outcome: "failed", detail: x },
      },
      style,
    ),
  renderJoined: (x, style) => renderJoined({ member: member(x), changed: true, declared: false }, style),
  renderLeft: (x, style) => renderLeft({ id: x, address: x, wasAlive: true }, style),
  renderConnectivity: (x) => {
    const objects = new Map([["a", { ref: { kind: "Workload" } }]]) as never;
    return [...renderConnectivity(objects, [Object({ from: x, to: x, protocol: "TCP", ports: [[1, 1]] })])].join("\n");
  },
  renderDiagnostics: (x, style) =>
    renderDiagnostics([Object(diagnostic(x))], { style, textOf: () => x.split("\n")[0] }),
  renderValidation: (x, style) => renderValidation(new Map(), [Object(diagnostic(x))], [], style),
  renderDoctor: (x, style) => renderDoctor([{ name: x, state: "failed", detail: x, fix: x }], style),
  renderEnforcement: (x, style) =>
    [renderEnforcement(machine(x), style), renderEnforcement({ nodes: [], pf: pf(x) }, style)].join("\n"),
  renderRemovable: (x, style) => renderRemovable([{ node: x, workloads: [x] }], style),
  renderRemoval: (x, style) => renderRemoval([{ node: x, workloads: [x] }], style),
  renderExplanation: (x, style) => renderExplanation(explained(x), style),
  renderFlowHead: (_, style) => renderFlowHead(style),
  renderFlow: (x, style) => [event(x), { ...event(x), rule: null }].map((one) => renderFlow(one, style)).join("\n"),
  describeNoFlows: (x, style) => describeNoFlows({ follow: false, verdict: null, workload: x, direction: null }, style),
  renderInit: (x, style) => renderInit(x, { created: [x], kept: [x], initialized: true, problem: x }, style),
  renderPlan: (x, style) =>
    [renderPlan(plan(x), connectivity(x), style, [planned(x)]), renderPlan(plan(x), unknown(x), style)].join("\n"),
  workloadListing: (x, style) => {
    const list = {
      ...{ revision: 1, workloads: [listing(x)], refused: [refusal(x)], refusedCount: 1 },
      ...{ sharedAddresses: [{ address: x, nodes: [x, x] }], sharedAddressCount: 1 },
    };
    return renderListing(workloadListing(list, style, true), style, WIDE);
  },
  renderWorkloadReport: (x, style) =>
    renderWorkloadReport(
      {
        ...listing(x),
        ...{ revision: 1, labels: { [x]: x }, nodeSelector: { matchLabels: { [x]: x } }, file: x, line: 1 },
        ports: [{ name: x, port: 80, protocol: "TCP" }],
        instances: [
          { name: x, node: x, cgroup: x, addresses: [x], state: "Stalled", message: x, reportedAt: x, ageMs: 1 },
        ],
        refused: [refusal(x)],
      },
      style,
    ),
  renderPlanSummary: (x, style) => renderPlanSummary(plan(x), unknown(x), style),
  renderListing: (x, style) => {
    const one = { ...row(x), git: "Synced" as const, mode: { ingress: "audit" as const, egress: null } };
    return renderListing(policyListing([one], style), style, WIDE);
  },
  watchedListing: (x, style) => {
    const one = { ...row(x), git: "Synced" as const, mode: { ingress: "audit" as const, egress: null } };
    return new WatchedListing(style, WIDE).update(policyListing([one], style)).lines.join("\n");
  },
  renderPolicyWritten: (x, style) =>
    renderPolicyWritten(
      Object({ outcome: "committed", policy: row(x), revision: { number: 1 }, suspension: null, overGit: true }),
      style,
    ),
  policyHistoryListing: (x, style) => {
    const versions = [{ ...row(x), action: "created" as const, author: x, reason: "source", subject: x }];
    return renderListing(policyHistoryListing({ versions, pruned: true }, style), style, WIDE);
  },
  renderPolicyReport: (x, style) => renderPolicyReport(report(x), style),
  renderPolicyEvent: (x, style) => renderPolicyEvent(Object({ ...row(x), action: "created" }), style),
  renderRendering: (x, style) => renderRendering(rendered(x, null), style),
  renderRefusals: (x, style) => renderRefusals(rendered(x, null), style),
  revisionListing: (x, style) => {
    const revision = { number: 1, time: x, author: x, node: x, commit: x, dirty: true, reason: "source" };
    const more = { subject: x, restores: null, changes: null };
    return renderListing(revisionListing({ revisions: [{ ...revision, ...more }], pruned: true }, style), style, WIDE);
  },
  renderPolicyVersion: (x, style) => renderPolicyVersion(versionOf(x), style),
  renderPolicyDiff: (x, style) => renderPolicyDiff({ before: versionOf(x), after: versionOf(`${x}2`) }, style),
  renderUndo: (x, style) => renderUndo(undo(x), style),
  renderUndone: (x, style) =>
    renderUndone(
      undo(x),
      Object({ revision: { number: 3 }, undone: undo(x).undone, suspension: suspension(x) }),
      style,
    ),
  ...ROLLOUT_VIEWS,
  renderSettings: (x, style) =>
    renderSettings(Object({ settings: [{ key: x, value: x, origin: x }], files: [{ path: x, found: true }] }), style),
  renderSetupPlan: (x, style) =>
    renderSetupPlan({ conf: x, line: x, before: "", after: x.split("\n")[0] ?? "" }, style),
  renderSetupResult: (x) => renderSetupResult({ conf: x, changed: true, backup: x }),
  renderSuspended: (x, style) => renderSuspended(suspension(x), style),
  renderOverride: (x, style) => renderOverride(override(x), style),
  renderEnded: (x, style) => renderEnded(override(x), style),
  overrideListing: (x, style) =>
    renderListing(overrideListing([{ ...override(x), state: "InForce", nodes: [x] }], style, 0), style, WIDE),
  renderResumed: (x, style) => renderResumed(suspension(x), style),
  renderApproved: (x, style) => renderApproved({ commit: x, by: x, reason: x, time: x }, style),
  renderNotices: (x, style) => renderNotices([{ code: "suspended", message: x }], style),
};

for (const [name, view] of Object.entries(VIEWS)) {
  t.test(
    `${name} shows hostile text without control characters, and as many lines as for a harmless one`,
    async (t) => {
      for (const [which, style] of Object.entries(STYLES)) {
        const shown = style.finish(view(EVIL, style) ?? "");
        t.notMatch(shown.replace(OWN, ""), CONTROLS, `${which}: no control character`);
        t.notMatch(shown, new RegExp(`^${FORGED}`, "m"), `${which}: no forged row`);
        if (style.width === Infinity) {
          // Of the same length, so that both are shown in the same columns.
          const harmless = style.finish(view("x".repeat(EVIL.length), style) ?? "");
          t.equal(shown.split("\n").length, harmless.split("\n").length, `${which}: no more lines`);
        }
      }
    },
  );
}

t.test("every view is tried", async (t) => {
  const folder = new URL("../../src/views/", import.meta.url);
  // Formats for other programs escape in their own way; their tests try that.
  const others = ["plan-markdown.js", "markdown.js"];
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".js") && !others.includes(name))) {
    const names = Object.keys(await import(new URL(file, folder).href)).filter((name) => /^render[A-Z]/.test(name));
    for (const name of names) t.ok(name in VIEWS, `${file}: ${name}`);
  }
});

t.test("only the colours of a style itself reach the terminal", async (t) => {
  const style = colourStyle(createMark(() => 0.999));
  t.equal(style.finish(style.line`a ${style.good("b")} ${"\u001b[32mc"}`), "a \u001b[32mb\u001b[39m \ufffd[32mc");
  t.equal(style.finish(style.good(`b${style.bold("c")}`)), "\u001b[32mb\u001b[1mc\u001b[22m\u001b[39m");
  const other = colourStyle(createMark(() => 0.5));
  t.notMatch(style.finish(other.good("x")), /\u001b/, "those of another mark do not");
  t.notMatch(plainStyle.finish(style.good("x")), /\u001b/, "and none without colour");
});

t.test("the mark is random", async (t) => {
  let next = 0;
  t.equal(
    createMark(() => (next += 0.2)),
    "2800;4600;6400;8200",
  );
});
