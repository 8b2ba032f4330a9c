/** A commit that takes too much to read is refused for that, and neither the leader nor its successor is harmed. */
import { join } from "node:path";
import t from "tap";
import { GitSource } from "../../src/adapters/git/source.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import type { ManifestFile } from "../../src/manifest/read.js";
import { Election } from "../../src/reconcile/election.js";
import { Leader } from "../../src/reconcile/leader.js";
import { readManifestsApart } from "../../src/wiring/manifest-process.js";
import { readBoundedManifests } from "../../src/wiring/manifests.js";
import { policy, workload } from "../builders/state.js";
import { recordTelemetry, seededRandom, silentLogger } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";
import { inFolder, Repository } from "../fakes/repository.js";
import { HANG_MS } from "../wait.js";

const GOOD = workload("web@n1 10.0.0.1 app=web") + policy("deny", "  podSelector: {}\n  ingress: []");
const LIMITS = { memoryMib: 512, cpuSeconds: 1_000, deadlineMs: HANG_MS, answerBytes: 64 * 1024 * 1024 };

t.test("a process of its own reads what this one reads", async (t) => {
  const file = (path: string, text: string): ManifestFile => ({ path, text, blobId: path });
  for (const files of [
    [],
    [file("a.yaml", GOOD)],
    [file("a.yaml", GOOD.replace("podSelector", "podSelektor")), file("b.yaml", "a: [\n")],
    [file("a.yaml", `${GOOD}---\n${GOOD}`), file("ü.yaml", GOOD.replace("web@", "💻@"))],
    Array.from({ length: 300 }, (_, index) => file(`${index}.yaml`, `# ${"x".repeat(20_000)}\n${GOOD}`)),
    [{ ...file("c.yaml", ""), unread: { reason: "not-utf8" as const, message: "the file is not UTF-8 text" } }],
  ])
    t.strictSame(await readManifestsApart(files, { limits: LIMITS }), readBoundedManifests(files));
});

/** More blocks than memory holds, in some MiB of text. */
function wideState(): string {
  const blocks = (salt: number): string =>
    Array.from(
      { length: 400 },
      (_, index) => `"${((salt * 7919 + index * 104_729) % 65_536).toString(16)}:${index.toString(16)}::1/128"`,
    ).join(", ");
  const rules = Array.from(
    { length: 100 },
    (_, index) =>
      `  - from: [{ipBlock: {cidr: "::/0", except: [${blocks(index)}]}}]\n    ports: [{port: ${index + 1}}]`,
  );
  return GOOD + policy("wide", `  podSelector: {}\n  ingress:\n${rules.join("\n")}`);
}

for (const [title, limits, message] of [
  ["memory", { ...LIMITS, memoryMib: 64 }, "reading its policies takes more than 64 MiB of memory"],
  ["time", { ...LIMITS, cpuSeconds: 1 }, "reading its policies takes more than 1 s of processor time"],
] as const) {
  t.test(`a commit that exceeds the bound of ${title} is rejected once, and the next one is followed`, (t) =>
    inFolder(async (folder) => {
      const repository = new Repository(join(folder, "repo"));
      repository.write("a.yaml", GOOD);
      repository.commit();
      const clock = new ManualClock();
      const store = openMemoryStore(clock);
      const { telemetry, calls } = recordTelemetry();
      const election = new Election(store, clock, { id: "n1", holder: "h1", ttlMs: 60_000 });
      let reads = 0;
      const deps = {
        store,
        source: new GitSource({ location: repository.path, cacheDir: join(folder, "cache") }),
        election,
        read: (files: readonly ManifestFile[]) => {
          reads += 1;
          return readManifestsApart(files, { limits: reads === 2 ? limits : LIMITS });
        },
        lockoutsOf: async () => [],
        clock,
        random: seededRandom(7),
        logger: silentLogger,
        telemetry,
      };
      const source = { branch: null, path: null, selfHeal: true, maxDeletePercent: 50 };
      await election.campaign();
      const leader = new Leader(deps, { node: "n1", source });
      await leader.reconcile();
      t.equal(await store.readHead(), 1);
      repository.write("a.yaml", wideState());
      const hostile = repository.commit();
      await leader.reconcile();
      await leader.reconcile();
      await new Leader(deps, { node: "n1", source }).reconcile();
      t.equal(reads, 2, "read once, by this leader and by none after it");
      t.match(await store.readSourceStatus(), {
        state: "Rejected",
        observedCommit: hostile,
        message: `commit ${hostile.slice(0, 12)} was rejected: ${message}`,
        tooLarge: message,
      });
      t.same(
        calls.filter(([name]) => name === "rejected"),
        [["rejected", { reason: "too-large" }]],
      );
      repository.write("a.yaml", GOOD.replace("10.0.0.1", "10.0.0.2"));
      repository.commit();
      await leader.reconcile();
      t.equal(await store.readHead(), 2);
    }),
  );
}
