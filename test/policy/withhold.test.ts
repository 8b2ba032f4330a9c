/** A ruleset in which workloads are withheld: examples, and the laws that hold for any two rulesets and any sessions. */
import fc from "fast-check";
import t from "tap";
import type { ManagementAccess, Session } from "../../src/model/management-access.js";
import type { Ruleset, Subject } from "../../src/model/ruleset.js";
import type { Withholding } from "../../src/model/withholding.js";
import { lower } from "../../src/adapters/ebpf/lower/lower.js";
import { compile } from "../../src/policy/compile/compile.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { holds } from "../../src/policy/holds.js";
import { makeSafe, mixRulesets, type SafeRuleset } from "../../src/policy/withhold.js";
import { arbitraryState, BORDER_ADDRESSES } from "../builders/arbitrary.js";
import { objectsOf, policy } from "../builders/state.js";

const PEER = "192.0.2.9";
const session = (...cgroups: readonly string[]): Session => ({ peer: PEER, port: 22, cgroups });
const access = (...sessions: readonly Session[]): ManagementAccess => ({ agent: null, sessions, servers: [] });

/** Manifests have no nested cgroups; workloads that are found at run time may have, and so may what stays in force. */
function compileNested(text: string): Ruleset {
  const documents = text.split("---\n").filter((document) => document.trim() !== "");
  const [workloads, others] = [true, false].map((is) =>
    documents.filter((one) => /kind"?: ?"?Workload/.test(one) === is),
  );
  const texts = [...(workloads ?? []), (others ?? []).join("---\n")];
  return compile(new Map(texts.flatMap((one) => [...objectsOf(one)])), "n1");
}

/** `name cgroup`, and what its policy lets in: `all`, `none`, or a port. */
function rulesetOf(...lines: readonly string[]): Ruleset {
  const documents = lines.map((line, index) => {
    const [name = "", cgroup = "", opens = ""] = line.split(" ");
    const ingress = opens === "all" ? "[{}]" : opens === "none" ? "[]" : `[{ ports: [{ port: ${opens} }] }]`;
    return (
      `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\n` +
      `spec: { node: n1, cgroup: ${cgroup}, addresses: ["10.0.0.${index + 1}"] }\n` +
      policy(`of-${name}`, `  podSelector: { matchLabels: { app: ${name} } }\n  ingress: ${ingress}`)
    );
  });
  return compileNested(documents.join(""));
}

/** The subjects with a cgroup, as the lines above. */
function linesOf(ruleset: Ruleset): readonly string[] {
  const evaluate = createEvaluator(ruleset);
  const isOpen = (workload: string, port: number): boolean =>
    evaluate({ workload, direction: "ingress", peer: PEER, protocol: 6, port }).verdict === "Allowed";
  return ruleset.subjects
    .filter(({ cgroup }) => cgroup !== null)
    .map(({ workload, cgroup }) => {
      const open = [22, 80, 443].filter((port) => isOpen(workload, port));
      const opens = open.length === 3 ? "all" : open.length === 0 ? "none" : String(open[0]);
      return `${workload.replace("default/", "")} ${cgroup ?? ""} ${opens}`;
    });
}

const namesOf = ({ workloads }: SafeRuleset): readonly string[] => workloads.map(({ workload }) => workload);

t.test("the workload that would cut keeps its policy, and the others follow", async (t) => {
  const inForce = rulesetOf("ssh s all", "web w 80", "old o none");
  const wanted = rulesetOf("ssh s 80", "web w 443", "new n 80");
  const safe = makeSafe(wanted, inForce, access(session("s/session-1")), []);
  t.strictSame(linesOf(safe.ruleset), ["new n 80", "ssh s all", "web w 443"]);
  t.match(safe.workloads, [
    {
      workload: "default/ssh",
      reasons: [/deny the SSH session/],
      policies: ["default/of-ssh"],
      keeps: ["default/ssh"],
    },
  ]);
  t.strictSame(safe.remaining, []);
  t.not(safe.ruleset.digest, wanted.digest);
  const again = makeSafe(wanted, safe.ruleset, access(session("s")), []);
  t.strictSame(again.ruleset, safe.ruleset, "again and again");
  t.equal(makeSafe(wanted, safe.ruleset, access(), []).ruleset, wanted, "and it follows once the session has ended");
});

t.test("what is in force is known by its cgroup: a new name or another cgroup loses nothing", async (t) => {
  const inForce = rulesetOf("ssh s all", "web w 80");
  const renamed = makeSafe(rulesetOf("sshd s none", "web w 80"), inForce, access(session("s")), []);
  t.strictSame(linesOf(renamed.ruleset), ["ssh s all", "web w 80"]);
  t.match(renamed.workloads, [{ workload: "default/sshd", keeps: ["default/ssh"] }]);
  const moved = makeSafe(rulesetOf("ssh elsewhere none", "web w 80"), inForce, access(session("elsewhere")), []);
  t.strictSame(linesOf(moved.ruleset), ["ssh s all", "web w 80"], "where it was, it stays");
  const exchanged = makeSafe(rulesetOf("ssh w none", "web s 443"), inForce, access(session("w")), []);
  t.strictSame(
    linesOf(exchanged.ruleset),
    ["web s 443", "web.withheld w 80"],
    "a name is used once: what stays at a cgroup gets another one",
  );
  const again = makeSafe(rulesetOf("ssh w none", "web s 443"), exchanged.ruleset, access(session("w")), []);
  t.strictSame(again.ruleset, exchanged.ruleset);
});

t.test("a new workload that would cut is not attached, and its addresses count as declared", async (t) => {
  const wanted = rulesetOf("ssh s none", "web w 80");
  const safe = makeSafe(wanted, rulesetOf("web w 443"), access(session("s")), []);
  t.strictSame(linesOf(safe.ruleset), ["web w 80"]);
  t.match(safe.workloads, [{ workload: "default/ssh", keeps: [] }]);
  t.match(safe.ruleset.subjects, [{ workload: "default/ssh", cgroup: null, addresses: ["10.0.0.1"] }, {}]);
});

t.test("nothing that is closed opens because its successor around it or in it is withheld", async (t) => {
  const inner = makeSafe(rulesetOf("ssh a/b none"), rulesetOf("all a 80", "other o none"), access(session("a/b")), []);
  t.strictSame(linesOf(inner.ruleset), ["all a 80"]);
  t.match(inner.workloads, [{ workload: "default/ssh", keeps: ["default/all"] }]);
  const outer = makeSafe(rulesetOf("ssh a none"), rulesetOf("all a/b 80", "other o none"), access(session("a/c")), []);
  t.strictSame(linesOf(outer.ruleset), ["all a/b 80"]);
});

t.test("a session that workloads in nested cgroups deny is cut by none of them", async (t) => {
  const inForce = rulesetOf("inner a/b all", "middle a 22", "web w 80");
  const wanted = rulesetOf("inner a/b none", "middle a 80", "web w none");
  const safe = makeSafe(wanted, inForce, access(session("a/b")), []);
  t.strictSame(linesOf(safe.ruleset), ["inner a/b all", "middle a 22", "web w none"]);
  const one = makeSafe(rulesetOf("inner a/b none", "middle a 22", "web w none"), inForce, access(session("a/b")), []);
  t.strictSame(namesOf(one), ["default/inner"], "only what denies is withheld");
  const cut = rulesetOf("around a none", "inner a/b all");
  const second = makeSafe(rulesetOf("around a none", "inner a/b none"), cut, access(session("a/b")), []);
  t.strictSame(namesOf(second), ["default/inner"], "also where another one denies already");
});

t.test("what the policy in force denies is told, and holds nothing else back", async (t) => {
  const inForce = rulesetOf("ssh s none", "web w 80");
  const other = makeSafe(rulesetOf("ssh s none", "web w 443"), inForce, access(session("s")), []);
  t.strictSame(linesOf(other.ruleset), ["ssh s none", "web w 443"]);
  t.match([other.workloads, other.remaining], [[], [/default\/ssh .*deny the SSH session/]]);
  const changed = makeSafe(rulesetOf("ssh s 80", "web w 443"), inForce, access(session("s")), []);
  t.strictSame(linesOf(changed.ruleset), ["ssh s none", "web w 443"]);
  t.match([namesOf(changed), changed.remaining], [["default/ssh"], [/default\/ssh .*deny the SSH session/]]);
});

t.test("however many sessions a workload denies, its content is compared once", async (t) => {
  let written = 0;
  const counted = (ruleset: Ruleset): Ruleset => ({
    ...ruleset,
    profiles: ruleset.profiles.map((profile) => {
      const clauses = Object.assign([...profile.clauses], { toJSON: () => ((written += 1), profile.clauses) });
      return { ...profile, clauses };
    }),
  });
  const writtenFor = (sessions: number, lines: readonly string[]): number => {
    written = 0;
    const all = Array.from({ length: sessions }, (_, at) => ({ ...session("s"), port: 20_000 + at }));
    const { workloads, remaining } = makeSafe(
      counted(rulesetOf(...lines)),
      rulesetOf("ssh s none"),
      access(...all),
      [],
    );
    t.equal(Math.max(remaining.length, workloads[0]?.reasons.length ?? 0), sessions);
    return written;
  };
  for (const lines of [["ssh s none"], ["ssh s 80"]]) t.equal(writtenFor(500, lines), writtenFor(1, lines));
});

t.test("the agent's own cgroup and the servers of store and source count like sessions", async (t) => {
  const inForce = rulesetOf("etcd e 22", "web w 80");
  const agent = { agent: "w/agent", sessions: [], servers: [] };
  const mine = makeSafe(rulesetOf("etcd e none", "web w 443"), inForce, agent, []);
  t.strictSame(linesOf(mine.ruleset), ["etcd e none", "web w 80"]);
  const servers = [{ role: "store" as const, port: 22, cgroups: ["e"] }];
  const clients = [{ node: "n2", addresses: [PEER] }];
  const store = makeSafe(
    rulesetOf("etcd e none", "web w 443"),
    inForce,
    { agent: null, sessions: [], servers },
    clients,
  );
  t.strictSame(linesOf(store.ruleset), ["etcd e 22", "web w 443"]);
});

t.test("two workloads that deny a server all addresses only together are not both withheld", async (t) => {
  const from = (name: string, cgroup: string, cidr: string): string =>
    `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\n` +
    `spec: { node: n1, cgroup: ${cgroup}, addresses: [] }\n` +
    policy(
      name,
      `  podSelector: { matchLabels: { app: ${name} } }\n  ingress: [{ from: [{ ipBlock: { cidr: ${cidr} } }] }]`,
    );
  const wanted = compileNested(from("a", "e", "10.0.0.1/32") + from("b", "e/x", "10.0.0.2/32"));
  const lines = { agent: null, sessions: [], servers: [{ role: "store" as const, port: 22, cgroups: ["e/x"] }] };
  const clients = [{ node: "n2", addresses: ["10.0.0.1", "10.0.0.2"] }];
  const safe = makeSafe(wanted, compile(new Map(), "n1"), lines, clients);
  t.strictSame(namesOf(safe), ["default/a"]);
});

const CGROUPS = ["a", "a/b", "a/b/c", "d", "d/e", "f", "g"];

/** Five workloads at most, each with a cgroup of its own, some within others. */
const arbitraryRuleset = fc
  .tuple(arbitraryState, fc.shuffledSubarray(CGROUPS, { minLength: 5, maxLength: 5 }))
  .map(([documents, cgroups]) => {
    const left = [...cgroups];
    const placed = documents.map((document) =>
      "spec" in document && Reflect.get(document, "kind") === "Workload"
        ? { ...document, spec: { ...Object(document.spec), node: "n1", cgroup: left.pop() } }
        : document,
    );
    return compileNested(placed.map((document) => JSON.stringify(document)).join("\n---\n"));
  });

const arbitrarySession = fc.record({
  peer: fc.constantFrom(...BORDER_ADDRESSES),
  port: fc.constantFrom(1, 22, 80, 443, 8080),
  cgroups: fc.shuffledSubarray([...CGROUPS, "a/b/x", "d/e/x", "elsewhere"], { minLength: 1, maxLength: 2 }),
});

/** Returns the workloads that deny a session. */
function denying(ruleset: Ruleset, { peer, port, cgroups }: Session): readonly string[] {
  const evaluate = createEvaluator(ruleset);
  return ruleset.subjects
    .filter(({ cgroup }) => cgroups.some((inner) => holds(cgroup, inner)))
    .filter(
      ({ workload }) => evaluate({ workload, direction: "ingress", peer, protocol: 6, port }).verdict === "Denied",
    )
    .map(({ workload }) => workload);
}

/** What is enforced on a subject's cgroup, without its names. */
function enforcedOn({ cgroup, addresses, ingress, egress }: Subject, { profiles }: Ruleset): unknown {
  const directions = [ingress, egress].map(({ mode, policies, profile: key }) => {
    const { rules = null, clauses = null } = profiles.find((profile) => profile.key === key) ?? {};
    return { mode, policies, rules, clauses };
  });
  return { cgroup, addresses, directions };
}

t.test("laws of any two rulesets and any sessions", async (t) => {
  let withheld = 0;
  fc.assert(
    fc.property(
      arbitraryRuleset,
      arbitraryRuleset,
      fc.array(arbitrarySession, { maxLength: 4 }),
      (old, next, sessions) => {
        const safe = makeSafe(next, old, access(...sessions), []);
        const { ruleset, kept } = safe;
        const names = new Set(namesOf(safe));
        withheld += names.size;
        const at = (cgroup: string | null, { subjects }: Ruleset): Subject | undefined =>
          subjects.find((subject) => subject.cgroup === cgroup);
        for (const one of sessions)
          if (denying(old, one).length === 0)
            t.strictSame(denying(ruleset, one), [], "no session that was allowed is cut");
        const denied = new Set(sessions.flatMap((one) => denying(next, one)));
        for (const subject of next.subjects) {
          if (names.has(subject.workload)) t.ok(denied.has(subject.workload), "what denies nothing is not withheld");
          else t.strictSame(enforcedOn(at(subject.cgroup, ruleset)!, ruleset), enforcedOn(subject, next), "it follows");
        }
        const followed = next.subjects.filter(({ workload }) => !names.has(workload)).map(({ cgroup }) => cgroup);
        for (const subject of old.subjects) {
          const stands = next.subjects.some(
            ({ workload, cgroup }) =>
              names.has(workload) &&
              (workload === subject.workload ||
                holds(cgroup, subject.cgroup ?? "") ||
                holds(subject.cgroup, cgroup ?? "")),
          );
          const now = at(subject.cgroup, ruleset);
          if (followed.includes(subject.cgroup)) continue;
          if (stands) t.strictSame(enforcedOn(now!, ruleset), enforcedOn(subject, old), "what stays is as it was");
          else t.equal(now, undefined, "what the new ruleset removes is gone");
        }
        t.equal(new Set(ruleset.subjects.map(({ workload }) => workload)).size, ruleset.subjects.length);
        t.strictSame(makeSafe(next, ruleset, access(...sessions), []).ruleset, ruleset, "the same again");
        const stored: Withholding["kept"] = JSON.parse(JSON.stringify(kept));
        t.strictSame(mixRulesets(next, { workloads: safe.workloads, kept: stored }), ruleset, "also from disk");
        t.strictSame(makeSafe(next, ruleset, access(), []).ruleset, next, "all of it, once the sessions have ended");
        t.doesNotThrow(() => lower(ruleset));
        return t.passing();
      },
    ),
    { numRuns: 300 },
  );
  // Some 125, with a standard deviation of 10.
  t.ok(withheld > 50, `only ${withheld} workloads were withheld`);
});
