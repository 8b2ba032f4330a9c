/** What commands say of a store of this machine that does not exist. */
import { existsSync } from "node:fs";
import t from "tap";
import { NODES, policy, Ztap } from "./ztap.js";

t.test("a store that does not exist is an error to who reads it, and news to who plans or watches", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("repo/n.yaml", NODES + "---\n" + policy(80));
  const none = new RegExp(`there is no store at ${ztap.store}`);
  for (const words of [
    "policy list",
    "get policies -o json",
    "policy history",
    "policy show p",
    "workload list",
    "workload show web",
    "cluster list",
    "cluster status",
  ]) {
    const { code, stdout, stderr } = await ztap.run(words.split(" "));
    t.equal(code, 1, words);
    t.match(stdout + stderr, none, words);
  }
  t.match(await ztap.run(["plan", "repo"]), { code: 0, stdout: /Plan/, stderr: /^ztap: .* yet; everything is new\n$/ });
  t.match(await ztap.run(["plan", "repo", "--json"]), { code: 0, stderr: none });
  t.match(await ztap.run(["plan", "repo", "--store", "memory:"]), { code: 0, stderr: "" });
  const watching = ["policy watch", "policy list --watch", "cluster status -w"].map((words) =>
    ztap.start(words.split(" ")),
  );
  for (const one of watching) await one.says(/no store at .* yet; waiting for it/);
  t.notOk(existsSync(ztap.store), "nothing makes it by reading");
  t.match(await ztap.run(["apply", "repo", "--auto-approve"]), { code: 0, stderr: /yet; a commit makes it/ });
  for (const [index, one] of watching.entries()) {
    await one.says(index === 2 ? "revision 1" : "default/p");
    await one.stop();
  }
  t.match(await ztap.run(["plan", "repo"]), { code: 0, stderr: "" });
  t.match(await ztap.run(["policy", "list"]), { code: 0, stdout: /default\/p/ });
});
