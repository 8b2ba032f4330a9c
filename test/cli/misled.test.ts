/**
 * What the store's records can make a report say: the store is written behind ztap's back, as a node would that is not
 * trusted, and every command that reads it is run, as text and as JSON, with colour and without.
 */
import t from "tap";
import { EmbeddedTable } from "../../src/adapters/embedded/table.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { decodeRevision, encodeRevision } from "../../src/store/records.js";
import { keys } from "../../src/store/keys.js";
import { CONTROLS, NODES, policy, Ztap } from "./ztap.js";

const FORGED = "n9  InSync  9/9";
const EVIL = `failed\n${FORGED}\r\n${FORGED}\u2028${FORGED}\u001b[8mhidden\u001b[0m\u001b[2J\u202egnp`;
const TIME = "2026-01-01T00:00:00.000Z";
const STATUS = {
  ...{ node: "n1", backend: "none", attemptedRevision: 1, enforcedRevision: 1, rulesetDigest: null },
  ...{ state: "Stalled", message: EVIL, healed: 0, observedAt: TIME },
  drift: [{ kind: "missing", detail: EVIL }],
  subjects: [{ workload: "default/web", state: "Stalled", message: EVIL }],
};
const SOURCE = {
  ...{ location: EVIL, ref: EVIL, path: EVIL, observedCommit: null, acceptedCommit: null, state: "Rejected" },
  ...{ message: EVIL, diagnostics: [{ code: "ZT1001", file: EVIL, line: 1, column: 1, message: EVIL }] },
  ...{ checkedAt: TIME, leader: "n1" },
};
const SUSPENSION = { by: EVIL, reason: EVIL, since: TIME, until: null };

const COMMANDS = [
  ["policy-show", "policy", "show", "p"],
  ["policy-list", "policy", "list"],
  ["policy-history", "policy", "history", "p"],
  ["revision-list", "policy", "history"],
  ["cluster-status", "cluster", "status"],
  ["cluster-list", "cluster", "list"],
  ["workload-list", "workload", "list"],
] as const;

/** A store with one policy, and two nodes of which the second is harmless. */
async function makeStore(ztap: Ztap): Promise<void> {
  ztap.write("state/n.yaml", `${NODES}---\n${policy(80)}`);
  await ztap.run(["apply", "state", "--auto-approve"]);
  const alive = { holder: "h", renewedAt: Date.now(), ttlMs: 3_600_000 };
  for (const id of ["n1", "n2"]) await put(ztap, `live/${id}`, { id, address: `${id}:1`, ...alive });
  for (const id of ["n1", "n2"]) await put(ztap, `members/${id}`, { id, address: `${id}:1`, joinedAt: TIME });
  await put(ztap, "status/n2", { ...STATUS, node: "n2", message: "fine", drift: [], state: "InSync", subjects: [] });
}

async function put(ztap: Ztap, key: string, value: unknown): Promise<void> {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  await change(ztap, (table) => table.write((writer) => writer.put(key, text)));
}

async function change(ztap: Ztap, work: (table: EmbeddedTable) => Promise<unknown>): Promise<void> {
  const table = await EmbeddedTable.open({ path: ztap.store, access: "write" }, systemClock);
  try {
    await work(table);
  } finally {
    await table.close();
  }
}

t.test("texts in records forge no row, hide nothing, and turn no reading direction", async (t) => {
  const ztap = new Ztap(t);
  await makeStore(ztap);
  await put(ztap, "status/n1", STATUS);
  await put(ztap, "source", SOURCE);
  await put(ztap, "suspension", SUSPENSION);
  await change(ztap, (table) =>
    table.write((writer) => {
      const key = keys.revision(1);
      const revision = decodeRevision(writer.get(key) ?? "", key);
      const source = { ...revision.source, location: EVIL, author: EVIL, subject: EVIL };
      const position = { file: EVIL, line: 1 };
      const entries = revision.entries.map((entry) => ({ ...entry, position }));
      writer.put(key, encodeRevision({ ...revision, source, author: EVIL, reason: EVIL, entries }));
    }),
  );
  for (const [schema, ...args] of COMMANDS) {
    const name = args.join(" ");
    const outputs = {
      text: await ztap.run(args),
      colour: await ztap.onTerminal(args, ""),
      "no colour": await ztap.onTerminal(args, "", { NO_COLOR: "1" }),
    };
    for (const [how, { code, stdout, stderr }] of Object.entries(outputs)) {
      t.equal(code, 0, `${name}, ${how}: ${stderr}`);
      const shown = (stdout + stderr).replaceAll("\r\n", "\n").replace(/\u001b\[(?:1|2|22|31|32|33|39)m/g, "");
      t.notMatch(shown, CONTROLS, `${name}, ${how}: no control character`);
      t.notMatch(shown, new RegExp(`^${FORGED}`, "m"), `${name}, ${how}: no forged row`);
    }
    await ztap.json(t, schema, args);
    t.notMatch((await ztap.run([...args, "--json"])).stdout, CONTROLS, `${name}, JSON: all of it as escapes`);
  }
  t.match((await ztap.run(["policy", "show", "p"])).stdout, /missing {2}n1: failed n9/, "the text itself is shown");
});

t.test("a record that is not what it may be is reported as that node's, and the others are shown", async (t) => {
  const ztap = new Ztap(t);
  await makeStore(ztap);
  for (const wrong of [
    { observedAt: "9999-99-99" },
    { message: "x".repeat(10_000_000) },
    { node: "n2" },
    { rulesetDigest: "zz" },
  ]) {
    await put(ztap, "status/n1", { ...STATUS, ...wrong });
    const what = JSON.stringify(wrong).slice(0, 40);
    const report = await ztap.json(t, "policy-show", ["policy", "show", "p"]);
    t.match(report.nodes, [{ node: "n1", state: "Unknown", message: /its status .* damaged/, observedAt: null }], what);
    const { nodes } = await ztap.json(t, "cluster-status", ["cluster", "status"]);
    t.match(
      nodes,
      [
        { id: "n1", message: /its status .* damaged/ },
        { id: "n2", enforcedRevision: 1, message: null },
      ],
      what,
    );
    t.match((await ztap.run(["cluster", "status"])).stdout, /^n1: its status in the store is damaged/m);
  }
});

t.test("a damaged record of the leader or of an operator is named, and the rest of the report is shown", async (t) => {
  const ztap = new Ztap(t);
  await makeStore(ztap);
  await put(ztap, "source", { ...SOURCE, checkedAt: "now" });
  await put(ztap, "suspension", { ...SUSPENSION, until: "soon" });
  await put(ztap, "election", { leader: EVIL, holder: "h", term: 1, renewedAt: 1, ttlMs: 1 });
  const { nodes, damaged } = await ztap.json(t, "cluster-status", ["cluster", "status"]);
  t.equal(nodes.length, 2);
  t.match(damaged, [/record election/, /record suspension/, /record source/]);
  t.match((await ztap.run(["cluster", "status"])).stdout, /^Damaged +the store's record election/m);
  for (const args of [
    ["policy", "show", "p"],
    ["policy", "list"],
    ["policy", "history"],
  ])
    t.equal((await ztap.run(args)).code, 0, args.join(" "));
});

t.test("an error quotes the texts of others, and none of their lines begins as one of ztap's", async (t) => {
  const ztap = new Ztap(t);
  const name = "no\nztap: all is well\u001b[8m\u202e";
  for (const args of [
    ["plan", name],
    ["validate", name],
    ["apply", `${name}.plan`],
    ["policy", "show", name],
    ["plan", ".", "--ref", name],
  ]) {
    const { code, stdout, stderr } = await ztap.run(args);
    t.equal(code, 1, args.join(" "));
    t.match(stderr, /^ztap: /, "there is an error");
    t.notMatch(stdout + stderr, /^ztap: all is well/m, args.join(" "));
    t.notMatch(stdout + stderr, CONTROLS, args.join(" "));
  }
});
