/** A commit that exceeds the limits of a source is read once, by one leader. */
import t from "tap";
import { SourceError } from "../../src/interfaces/source.js";
import { readManifests } from "../../src/manifest/read.js";
import { Leader } from "../../src/reconcile/leader.js";
import { BETTER, setUp } from "./leader-setup.js";

const APPROVAL = { by: "op@host", reason: "", time: "2026-01-01T00:00:00.000Z" };

for (const step of ["is listed", "is read"]) {
  t.test(`a commit that exceeds the limits when it ${step} is rejected, by every later leader as well`, async (t) => {
    let reads = 0;
    const tooLarge = new SourceError("too-large", "the source holds more than 20000 policy files");
    const { store, source, leader, election, calls, deps, options } = await setUp(true, undefined, (files) => {
      reads += 1;
      if (step === "is read" && source.commit.startsWith("2")) throw tooLarge;
      return readManifests(files);
    });
    await leader.reconcile();
    source.push("2", BETTER);
    source.meanwhile = async () => {
      if (step === "is listed") throw tooLarge;
    };
    await leader.reconcile();
    await leader.reconcile();
    const [fetches, readings] = [source.fetches, reads];
    const message = "commit 222222222222 was rejected: the source holds more than 20000 policy files";
    const refusal = { state: "Rejected", message, tooLarge: tooLarge.message, acceptedCommit: "1".repeat(40) };
    t.match(await store.readSourceStatus(), { ...refusal, observedCommit: "2".repeat(40) });
    t.equal(await store.readHead(), 1);
    t.same([fetches, readings], [2, step === "is listed" ? 1 : 2], "this leader has tried once");
    source.error = new SourceError("source-unreachable", "no route to host");
    await t.rejects(leader.reconcile());
    source.error = null;
    await election.campaign();
    const successor = new Leader(deps, options);
    await successor.reconcile();
    t.same([source.fetches, reads], [fetches, readings], "its successor does not try");
    t.match(await store.readSourceStatus(), refusal);
    t.same(
      calls.filter(([name]) => name === "rejected"),
      [["rejected", { reason: "too-large" }]],
      "counted once",
    );
    await store.writeApproval({ ...APPROVAL, commit: "2".repeat(40) });
    await successor.reconcile();
    await successor.reconcile();
    t.equal(source.fetches, fetches + 1, "an operator can make it try again, once");
    source.meanwhile = async () => undefined;
    source.push("3", BETTER);
    await successor.reconcile();
    t.equal(await store.readHead(), 2, "the next commit is followed");
    t.equal((await store.readSourceStatus())?.tooLarge, undefined);
  });
}
