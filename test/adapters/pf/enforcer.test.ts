/** The edge to pfctl: arguments, standard input, exit codes and what is read back, with a stand-in for the program. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import t from "tap";
import { isEmptyDiff } from "../../../src/diff/keyed.js";
import { listDrift } from "../../../src/diff/drift.js";
import { inspectPf, removePf } from "../../../src/adapters/pf/inspect.js";
import type { PfEnforcer } from "../../../src/adapters/pf/enforcer.js";
import type { Ruleset } from "../../../src/model/ruleset.js";
import { rulesetOf } from "../../kernel/rulesets.js";
import { Machine } from "../../pf/machine.js";

const ruleset = (ports: readonly string[] = ["tcp/80", "tcp/8000-8080"]): Ruleset =>
  rulesetOf("mac-1", {
    "shop/db": { cgroup: null, addresses: ["10.0.0.2"], egress: { allow: [], mode: "audit" } },
    "shop/web": {
      cgroup: null,
      addresses: ["10.0.0.1"],
      ingress: { allow: [{ peers: ["192.0.2.0/24", "198.51.100.7/32"], ports }] },
      egress: { allow: [{ peers: ["10.0.0.2/32"], ports: ["icmp/2048"] }] },
    },
  });

async function differences(enforcer: PfEnforcer, wanted: Ruleset) {
  const observed = await enforcer.observe(wanted);
  return {
    observed,
    isSame: isEmptyDiff(observed.difference),
    drift: listDrift(observed.difference).map(({ kind, detail }) => `${kind}: ${detail}`),
    subjects: observed.subjects,
  };
}

t.test("a ruleset is checked, loaded as a whole and read back equal; pf is enabled with a reference", async (t) => {
  const machine = new Machine(t);
  const enforcer = machine.enforcer();
  await enforcer.open();
  t.equal((await differences(enforcer, ruleset())).isSame, false);
  await enforcer.apply(ruleset());
  const { calls, enabled, tokens } = machine.state;
  const load = calls.indexOf("-a ztap -o none -f -");
  t.ok(load > calls.indexOf("-a ztap -n -o none -f -"), "checked before it is loaded");
  t.ok(calls.indexOf("-E") > load, "the rules are there before pf is on");
  t.match({ enabled, tokens }, { enabled: true, tokens: ["1001"] });
  t.match(await differences(enforcer, ruleset()), {
    isSame: true,
    drift: [],
    subjects: [{ state: "Enforced" }, { state: "Enforced" }],
  });
  await enforcer.apply(ruleset());
  t.strictSame(machine.state.tokens, ["1001"], "one reference, however often");
  await enforcer.close();
  const next = machine.enforcer();
  await next.open();
  t.equal((await differences(next, ruleset())).isSame, true, "the next agent adopts it");
  await next.apply(ruleset(["udp/53"]));
  t.strictSame(machine.state.tokens, ["1001"], "with the same reference");
  t.equal((await differences(next, ruleset(["udp/53"]))).isSame, true);
  await next.close();
});

t.test(
  "drift: missing, changed, reordered and foreign rules, a disabled pf and an unreachable anchor are named and healed",
  async (t) => {
    const machine = new Machine(t);
    const enforcer = machine.enforcer();
    await enforcer.open();
    await enforcer.apply(ruleset());
    const tamper = async (
      name: string,
      edit: (anchor: { rules: string[]; tables: Record<string, string[]>; counts: number[] }) => void,
      wanted: RegExp,
    ) => {
      machine.change((state) => {
        const anchor = state.anchors["ztap"]!;
        edit(anchor);
        return { anchors: { ztap: anchor } };
      });
      t.match((await differences(enforcer, ruleset())).drift.join("\n"), wanted, name);
      await enforcer.apply(ruleset());
      t.equal((await differences(enforcer, ruleset())).isSame, true, `${name}: healed`);
    };
    await tamper("a rule that is gone", ({ rules }) => rules.splice(-1), /^missing: pf's rule ".*is missing$/m);
    await tamper(
      "a rule of somebody's",
      ({ rules }) => rules.unshift("pass quick all"),
      /^extra: pf's rule "pass quick all" of anchor ztap should not be there$/m,
    );
    await tamper("another order", ({ rules }) => rules.reverse(), /^changed: order of the rules/m);
    await tamper(
      "a wider rule",
      ({ rules }) => rules.forEach((rule, at) => (rules[at] = rule.replace("port = 80 ", ""))),
      /^extra: pf's rule "pass in quick/m,
    );
    await tamper(
      "an address in a table",
      ({ tables }) => Object.values(tables)[0]?.push("203.0.113.9"),
      /^changed: pf's table zt_\w+ is not what it should be \(wanted 2 addresses.*found 3/m,
    );
    await tamper("a table", ({ tables }) => Object.assign(tables, { mine: ["10.9.9.9"] }), /^extra: pf's table mine/m);
    machine.change(() => ({ enabled: false, tokens: [] }));
    t.match(await differences(enforcer, ruleset()), {
      drift: [/pf on this machine is not attached/, /reference/],
      subjects: [{ state: "Stalled", message: "pf is not enabled" }, {}],
    });
    await enforcer.apply(ruleset());
    t.match(machine.state, { enabled: true, tokens: ["1002"] }, "a reference that pf forgot is taken anew");
    machine.change(() => ({ main: ['anchor "com.apple/*" all'] }));
    t.match(await differences(enforcer, ruleset()), {
      drift: [/anchor "ztap" in pf's main ruleset is not attached/],
      subjects: [{ state: "Stalled", message: /does not come to/ }, {}],
    });
    await t.rejects(enforcer.apply(ruleset()), { code: "unsupported", message: /ztap enforcement setup --backend pf/ });
    t.strictSame(machine.state.main, ['anchor "com.apple/*" all'], "the main ruleset is not ztap's to change");
    await enforcer.close();
  },
);

t.test("an anchor that does not exist yet reads as empty", async (t) => {
  const machine = new Machine(t);
  machine.change(() => ({ main: [] }));
  t.match(await inspectPf({ stateDir: machine.folder, pfctl: machine.pfctl }), {
    rules: [],
    tables: [],
    linked: false,
  });
  const enforcer = machine.enforcer();
  await enforcer.open();
  t.equal((await differences(enforcer, ruleset())).isSame, false);
  await t.rejects(enforcer.apply(ruleset()), { code: "unsupported" });
  t.match(await differences(enforcer, ruleset()), { drift: [/anchor "ztap" in pf's main ruleset is not attached/] });
  await enforcer.close();
});

t.test("a failed load leaves the old rules complete, and reports the message of pfctl", async (t) => {
  const machine = new Machine(t);
  const enforcer = machine.enforcer();
  await enforcer.open();
  await enforcer.apply(ruleset());
  const before = machine.state.anchors;
  machine.change(() => ({ failLoad: true }));
  await t.rejects(enforcer.apply(ruleset(["tcp/22"])), {
    code: "kernel",
    message: /Loading the rules failed: .* ended with 1: pfctl: DIOCXCOMMIT: Device busy$/,
  });
  t.strictSame(machine.state.anchors, before);
  machine.change(() => ({ failLoad: false, failCheck: true }));
  await t.rejects(enforcer.apply(ruleset(["tcp/22"])), {
    code: "kernel",
    message: /Checking the rules failed.*syntax error/,
  });
  t.strictSame(machine.state.anchors, before);
  machine.change(() => ({ failCheck: false }));
  await enforcer.apply(ruleset(["tcp/22"]));
  t.equal((await differences(enforcer, ruleset(["tcp/22"]))).isSame, true);
  await enforcer.close();
});

t.test(
  "connections that the new rules would not let begin are ended, by the next agent too; other connections stay",
  async (t) => {
    const machine = new Machine(t);
    const enforcer = machine.enforcer();
    await enforcer.open();
    await enforcer.apply(ruleset());
    const states = [
      {
        line: "ALL tcp 10.0.0.1:80 <- 192.0.2.7:50000       ESTABLISHED:ESTABLISHED",
        from: "192.0.2.7",
        to: "10.0.0.1",
      },
      {
        line: "ALL tcp 10.0.0.1:8000 <- 192.0.2.8:50000       ESTABLISHED:ESTABLISHED",
        from: "192.0.2.8",
        to: "10.0.0.1",
      },
      {
        line: "ALL tcp 10.0.0.1:8001 <- 192.0.2.9:50000       FIN_WAIT_2:FIN_WAIT_2",
        from: "192.0.2.9",
        to: "10.0.0.1",
      },
      { line: "ALL icmp 10.0.0.1:7 -> 10.0.0.2       0:0", from: "10.0.0.1", to: "10.0.0.2" },
      {
        line: "ALL tcp 10.0.0.2:9999 -> 203.0.113.1:443       ESTABLISHED:ESTABLISHED",
        from: "10.0.0.2",
        to: "203.0.113.1",
      },
      {
        line: "ALL tcp 10.9.9.9:1 -> 203.0.113.1:443       ESTABLISHED:ESTABLISHED",
        from: "10.9.9.9",
        to: "203.0.113.1",
      },
    ];
    machine.change(() => ({ states }));
    t.equal((await differences(enforcer, ruleset())).isSame, true, "all of them are allowed, audited or nobody's");
    machine.change(() => ({ failKill: true }));
    await t.rejects(enforcer.apply(ruleset(["tcp/80"])), { code: "kernel", message: /Ending connections failed/ });
    machine.change(() => ({ failKill: false }));
    await enforcer.close();
    const next = machine.enforcer();
    await next.open();
    t.match((await differences(next, ruleset(["tcp/80"]))).drift, [
      "extra: connection tcp 10.0.0.1:8000 ← 192.0.2.8:50000, which no rule allows any more, should not be there",
    ]);
    await next.apply(ruleset(["tcp/80"]));
    t.strictSame(
      machine.state.states.map(({ from }) => from),
      ["192.0.2.7", "192.0.2.9", "10.0.0.1", "10.0.0.2", "10.9.9.9"],
    );
    t.equal((await differences(next, ruleset(["tcp/80"]))).isSame, true);
    await next.close();
  },
);

t.test("a workload that gets a user loses its connections: a pf state does not name its user", async (t) => {
  const machine = new Machine(t);
  const enforcer = machine.enforcer();
  await enforcer.open();
  await enforcer.apply(ruleset());
  machine.change(() => ({
    states: [
      {
        line: "ALL tcp 10.0.0.1:80 <- 192.0.2.7:50000       ESTABLISHED:ESTABLISHED",
        from: "192.0.2.7",
        to: "10.0.0.1",
      },
    ],
  }));
  const bound = ruleset();
  const withUser = {
    ...bound,
    subjects: bound.subjects.map((subject) =>
      subject.workload === "shop/web" ? { ...subject, user: "_www" } : subject,
    ),
  };
  // Between the load and the end of the connections it is as if the agent had been killed there.
  machine.change(() => ({ failKill: true }));
  await t.rejects(enforcer.apply(withUser), /Ending connections/);
  await enforcer.close();
  machine.change(() => ({ failKill: false }));
  t.equal(machine.state.states.length, 1);
  const next = machine.enforcer();
  await next.open();
  t.match((await differences(next, withUser)).drift, [
    /connections \(egress\) of shop\/web from before it was bound/,
    /connections \(ingress\) of shop\/web from before it was bound/,
  ]);
  await next.apply(withUser);
  t.strictSame(machine.state.states, []);
  t.equal((await differences(next, withUser)).isSame, true);
  const { calls } = machine.state;
  await next.apply(withUser);
  t.notOk(
    machine.state.calls.slice(calls.length).some((call) => call.startsWith("-k")),
    "once",
  );
  await next.close();
});

t.test("of processes that take the lock at once, one gets it; a killed process releases it", async (t) => {
  const machine = new Machine(t);
  const rival = fileURLToPath(new URL("../../pf/lock-rival.js", import.meta.url));
  const start = async () => {
    const child = spawn(process.execPath, [rival, machine.folder], { stdio: ["pipe", "pipe", "inherit"] });
    t.teardown(() => child.kill("SIGKILL"));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const says = async (): Promise<string> => String((await lines.next()).value);
    const ask = (line: string): Promise<string> => {
      child.stdin.write(`${line}\n`);
      return says();
    };
    t.equal(await says(), "ready");
    return { child, ask };
  };
  const importers = await Promise.all(Array.from({ length: 4 }, start));
  for (let round = 0; round < 50; round += 1) {
    const answers = await Promise.all(importers.map(({ ask }) => ask("take")));
    if (answers.toSorted().join() !== "busy,busy,busy,taken") t.fail(`round ${round}: ${answers.join()}`);
    await Promise.all(importers.map(({ ask }) => ask("drop")));
  }
  const [first, second] = importers;
  t.equal(await first?.ask("take"), "taken");
  t.equal(await second?.ask("take"), "busy");
  const gone = new Promise((resolve) => first?.child.once("exit", resolve));
  first?.child.kill("SIGKILL");
  await gone;
  t.equal(await second?.ask("take"), "taken");
});

t.test("packets are counted by rule and by workload, and the counts continue over another load", async (t) => {
  const machine = new Machine(t);
  const enforcer = machine.enforcer();
  await enforcer.open();
  await enforcer.apply(ruleset());
  machine.change((state) => ({
    anchors: {
      ztap: {
        ...state.anchors["ztap"]!,
        counts: state.anchors["ztap"]!.rules.map((rule) =>
          rule.includes("ztap:d:") ? 5 : rule.includes("ztap:r:") ? 2 : 1,
        ),
      },
    },
  }));
  const counted = async (wanted: Ruleset) => (await enforcer.observe(wanted)).counters;
  const first = await counted(ruleset());
  t.equal(first.rules.get("shop/web/ingress/0"), 4n, "its two rules of pf's together");
  t.match(first.workloads.get("shop/web"), { ingress: { denied: 5n }, egress: { denied: 5n } });
  t.match(first.workloads.get("shop/db"), { egress: { audited: 1n } });
  await enforcer.apply(ruleset(["tcp/80"]));
  t.equal((await counted(ruleset(["tcp/80"]))).rules.get("shop/web/ingress/0"), 4n);
  await enforcer.close();
});

t.test(
  "a workload whose rules pf cannot express is closed and Stalled; one whose address is missing is Pending",
  async (t) => {
    const machine = new Machine(t);
    const enforcer = machine.enforcer();
    await enforcer.open();
    const wanted = rulesetOf("mac-1", {
      "shop/a": { cgroup: "a", ingress: { allow: [] } },
      "shop/b": { cgroup: null, addresses: ["10.0.0.2"], ingress: { allow: [{ peers: "any", ports: ["sctp/80"] }] } },
      "shop/c": { cgroup: null, addresses: ["10.0.0.77"], ingress: { allow: [] } },
    });
    await enforcer.apply(wanted);
    t.match(await differences(enforcer, wanted), {
      isSame: true,
      subjects: [
        { state: "Stalled", message: /has no address of its own/ },
        { state: "Stalled", message: /SCTP ports/ },
        { state: "Pending", message: /no interface has 10\.0\.0\.77/ },
      ],
    });
    machine.change((state) => ({ anchors: { ztap: { ...state.anchors["ztap"]!, rules: [] } } }));
    t.match(
      (await differences(enforcer, wanted)).drift.join("\n"),
      /block drop in quick from any to 10\.0\.0\.2/,
      "what is closed is looked after",
    );
    await enforcer.close();
  },
);

t.test("no root, no pfctl, no token, another node, another agent: each is reported, and nothing changes", async (t) => {
  const machine = new Machine(t);
  machine.change(() => ({ notRoot: true }));
  await t.rejects(machine.enforcer().open(), {
    code: "not-permitted",
    message: /Reading pf's state needs root.*Permission denied/,
  });
  machine.change(() => ({ notRoot: false, noToken: true }));
  const enforcer = machine.enforcer();
  await enforcer.open();
  await t.rejects(enforcer.apply(ruleset()), { code: "kernel", message: /pfctl -E gave no token/ });
  await t.rejects(machine.enforcer().open(), { code: "busy", message: /another process/ });
  await t.rejects(removePf({ stateDir: machine.folder, pfctl: machine.pfctl }, null), { code: "busy" });
  machine.change(() => ({ noToken: false }));
  await enforcer.apply(ruleset());
  await enforcer.close();
  await t.rejects(machine.enforcer({ node: "mac-2" }).open(), { code: "busy", message: /node mac-1's/ });
  const looker = machine.enforcer({ readOnly: true });
  await looker.open();
  t.equal((await differences(looker, ruleset())).isSame, true);
  await t.rejects(looker.apply(ruleset()), TypeError);
  const { Pfctl } = await import("../../../src/adapters/pf/pfctl/pfctl.js");
  await t.rejects(new Pfctl("/nonexistent/pfctl").run("Looking", []), {
    code: "unsupported",
    message: /there is no \/nonexistent\/pfctl.*macOS/,
  });
});

t.test("show lists the enforcement; remove removes all of it, once", async (t) => {
  const machine = new Machine(t);
  const options = { stateDir: machine.folder, pfctl: machine.pfctl };
  t.strictSame(await removePf(options, null), [], "there was nothing");
  const enforcer = machine.enforcer();
  await enforcer.open();
  await enforcer.apply(ruleset());
  await enforcer.close();
  t.match(await inspectPf(options), {
    anchor: "ztap",
    node: "mac-1",
    enabled: true,
    reference: true,
    linked: true,
    rules: [/ztap:/],
  });
  t.strictSame(await removePf(options, "mac-2"), [], "another node's");
  t.strictSame(await removePf(options, null), [{ node: "mac-1", workloads: ["shop/db", "shop/web"] }]);
  t.match(machine.state, { enabled: false, tokens: [], anchors: { ztap: { rules: [] } } });
  t.strictSame(await removePf(options, null), []);
});
