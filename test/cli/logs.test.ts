/** `ztap logs` with a real journal: a journald of the test's own, in a mount namespace where systemd seems to run. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import t from "tap";
import { Ztap } from "./ztap.js";

const JOURNALD = "/lib/systemd/systemd-journald";
const isBooted = existsSync("/run/systemd/system");
const canUnshare = process.geteuid?.() === 0 && spawnSync("unshare", ["-m", "true"]).status === 0;
const whyNot =
  (!canUnshare && "needs root, for a mount namespace") ||
  (spawnSync("sh", ["-c", `test -x ${JOURNALD} && command -v journalctl logger`]).status !== 0 &&
    "needs journald, journalctl and logger");

/** Writes an entry of a unit. */
const write = (unit: string, message: string) =>
  `printf 'MESSAGE=${message}\\nOBJECT_SYSTEMD_UNIT=${unit}.service\\n' | logger --journald`;

t.test("the entries of the agent's units are shown, and followed", { skip: whyNot }, async (t) => {
  const ztap = new Ztap(t);
  const logs = `${ztap.root}/bin/ztap logs`;
  const script = ztap.write(
    "journal.sh",
    [
      // What is mounted here is seen nowhere else.
      "mount --make-rprivate / && mount -t tmpfs tmpfs /run || exit 9",
      "mkdir -p /run/systemd/system /run/systemd/journal /run/log/journal",
      `${JOURNALD} 2>/dev/null & journald=$!`,
      "trap 'kill $journald; wait' EXIT",
      "until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done",
      write("ztap-boot", "before the network"),
      write("nginx", "of another unit"),
      write("ztap", "policy is enforced"),
      // journald keeps the order.
      "until journalctl --quiet --no-pager | grep -q 'policy is'; do sleep 0.05; done",
      `echo "== all"; ${logs}`,
      `echo "== tail"; ${logs} --tail 1`,
      `echo "== json"; ${logs} --since 1h --json`,
      `echo "== follow"; ${logs} --follow --tail 0 >followed & follower=$!`,
      // It is there once it shows what is new.
      `until grep -q 'is new' followed; do ${write("ztap", "is new")}; sleep 0.1; done`,
      'kill -TERM $follower; wait $follower; echo "ended with $?"',
      "",
    ].join("\n"),
  );
  const { code, stdout, stderr } = await ztap.spawn("unshare", ["-m", "sh", script], { isScript: true }).ended;
  t.same([code, stderr], [0, ""]);
  const [, all = "", tail = "", json = "", follow = ""] = stdout.split(/^== .*\n/m);
  t.match(all, /before the network\n.*policy is enforced\n$/);
  t.notMatch(all, "another unit");
  t.match(tail, /^\S+ .*policy is enforced\n$/);
  const entries = json
    .trimEnd()
    .split("\n")
    .map((line): unknown => JSON.parse(line));
  t.match(entries, [{ MESSAGE: "before the network" }, { MESSAGE: "policy is enforced" }]);
  t.equal(follow, "ended with 0\n");
});

t.test("without systemd there is an error", { skip: isBooted && "systemd runs this machine" }, async (t) => {
  const ztap = new Ztap(t);
  const reason = /no log can be shown: systemd does not run this machine.*`ztap flows`/;
  t.match(await ztap.run(["logs", "--follow"]), { code: 1, stdout: "", stderr: reason });
  t.match(await ztap.json(t, "error", ["logs"], { code: 1 }), { error: { code: "unsupported" } });
});
