/** `Cluster.spec.rollout`: what an author may write, the canonical form, and the place of each mistake. */
import t from "tap";
import { planOf } from "../../src/plan/rollout/start.js";
import { readManifests } from "../../src/manifest/read.js";
import { objectsOf } from "../builders/state.js";

const HEAD = "apiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec:\n  rollout:\n";
const lines = (...all: readonly string[]): string => HEAD + all.map((line) => `    ${line}\n`).join("");

/** `line:column code path` of each problem. */
function problemsOf(text: string): readonly string[] {
  const { diagnostics } = readManifests([{ path: "a.yaml", text, blobId: text }]);
  return diagnostics.map(({ line, column, code, path }) => `${line}:${column} ${code} ${path}`);
}

t.test("every default is filled in, times are in seconds, and the canonical form is a document again", async (t) => {
  const text = lines(
    "confirm: 2m",
    "waves:",
    "- { nodes: { matchLabels: { canary: yes-please } }, soak: 10m }",
    "- { max: 10%, soak: 1h }",
    "- { max: 25 }",
    "gates: { newDenials: 0 }",
    "freeze: [{ from: Fri 16:00, to: Mon 08:00, timezone: Europe/Berlin }]",
  );
  const [object] = objectsOf(text).values();
  const rollout = {
    confirm: "120s",
    shadow: "60s",
    waves: [
      { nodes: { matchLabels: { canary: "yes-please" } }, max: "100%", soak: "600s" },
      { max: "10%", soak: "3600s" },
      { max: 25, soak: "0s" },
    ],
    gates: { stalled: 0, unconfirmed: 0, newDenials: 0 },
    onFailure: "revert",
    freeze: [{ from: "Fri 16:00", to: "Mon 08:00", timezone: "Europe/Berlin" }],
  };
  t.same(object?.object, { apiVersion: "ztap/v1", kind: "Cluster", metadata: { name: "cluster" }, spec: { rollout } });
  const again = objectsOf(JSON.stringify(object?.object));
  t.same([...again.values()][0]?.digest, object?.digest);
  t.same({ confirm: "120s", ...planOf(again) }, rollout);
  t.equal(planOf(objectsOf(lines("confirm: 2m"))), null);
  t.match(planOf(objectsOf(lines("waves: [{}]", "shadow: 0s", "gates: { stalled: 3 }"))), {
    ...{ shadow: "0s", gates: { stalled: 3, unconfirmed: 0 }, waves: [{ max: "100%", soak: "0s" }] },
  });
});

t.test("mistakes are reported where they stand", async (t) => {
  t.same(problemsOf(lines("waves: [{ max: 150%, soak: 5 }]")), [
    "6:20 ZT3032 spec.rollout.waves[0].max",
    "6:32 ZT2005 spec.rollout.waves[0].soak",
  ]);
  t.same(problemsOf(lines("waves: [{ max: 0 }, { max: 1.5 }, { soak: 5 min }]")), [
    "6:20 ZT2008 spec.rollout.waves[0].max",
    "6:32 ZT2005 spec.rollout.waves[1].max",
    "6:47 ZT3032 spec.rollout.waves[2].soak",
  ]);
  t.same(problemsOf(lines("waves: [{ max: 1 }]", "freeze:", "- { from: Friday, to: Mon 24:00, timezone: CEST+1 }")), [
    "8:15 ZT3032 spec.rollout.freeze[0].from",
    "8:27 ZT3032 spec.rollout.freeze[0].to",
    "8:48 ZT3033 spec.rollout.freeze[0].timezone",
  ]);
  t.same(problemsOf(lines("waves: [{ max: 1 }]", "freeze: [{ from: Fri 16:00, to: Fri 16:00, timezone: UTC }]")), [
    "7:37 ZT3032 spec.rollout.freeze[0].to",
  ]);
  t.same(problemsOf(lines("gates: { stalled: 1 }", "onFailure: pause")), [
    "6:5 ZT3032 spec.rollout.gates",
    "7:5 ZT3032 spec.rollout.onFailure",
  ]);
  t.same(problemsOf(lines("waves: []", "shadow: 1m")), ["7:5 ZT3032 spec.rollout.shadow"]);
  t.same(problemsOf(lines("waves: [{ max: 1, selector: {} }]", "gates: { denials: 0 }", "onFailure: undo")), [
    "6:23 ZT2003 spec.rollout.waves[0].selector",
    "7:14 ZT2003 spec.rollout.gates.denials",
    "8:16 ZT2006 spec.rollout.onFailure",
  ]);
  t.same(problemsOf(lines("confirm: 5s")), ["6:14 ZT3032 spec.rollout.confirm"]);
});
