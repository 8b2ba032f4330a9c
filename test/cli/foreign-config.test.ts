/** Files of settings that another user can change: refused with the reason, also where they are named. */
import { chmodSync, chownSync } from "node:fs";
import { dirname } from "node:path";
import t from "tap";
import { NOBODY, NODES, policy, Ztap } from "./ztap.js";

const skip = process.geteuid?.() !== 0 && "not root";

t.test("root reads no configuration file that another user owns or can write to", { skip }, async (t) => {
  const ztap = new Ztap(t);
  const config = ztap.write("etc/config.yaml", "node: n1\n");
  const show = (args: readonly string[] = ["--config", config], env = {}) =>
    ztap.run(["config", "show", ...args], { env });
  t.match(await show(), { code: 0, stdout: /n1/ });
  const refused = async (why: RegExp) => {
    for (const result of [await show(), await show([], { ZTAP_CONFIG: config })])
      t.match(result, { code: 64, stderr: new RegExp(`config\\.yaml is not read: .*${why.source}.*chmod go-w`) });
  };
  chmodSync(config, 0o666);
  await refused(/others may write to .*config\.yaml/);
  chmodSync(config, 0o644);
  chownSync(config, NOBODY, NOBODY);
  await refused(/config\.yaml belongs to user 65534/);
  chownSync(config, 0, 0);
  chmodSync(dirname(config), 0o777);
  await refused(/others may write to .*etc/);
  chownSync(dirname(config), NOBODY, NOBODY);
  chmodSync(dirname(config), 0o755);
  await refused(/etc belongs to user 65534/);
  chownSync(dirname(config), 0, 0);
  t.match(await show(), { code: 0 }, "mended");
  t.match(await show(["--config", "/dev/null"]), { code: 0 });
});

t.test("an ordinary user reads with root's file, and with an own one", { skip }, async (t) => {
  const ztap = new Ztap(t);
  if (!ztap.isReadableBy(NOBODY)) return t.comment("the checkout is not readable by other users");
  const config = ztap.write("etc/config.yaml", "node: n1\n");
  const as = { uid: NOBODY, env: { ZTAP_CONFIG: config, HOME: ztap.homeOf(NOBODY) } };
  t.match(await ztap.run(["config", "show"], as), { code: 0, stdout: /n1/ });
  ztap.write("state/n.yaml", `${NODES}---\n${policy(80)}`);
  t.match(await ztap.run(["validate", ztap.path("state")], as), { code: 0 });
  chownSync(config, NOBODY, NOBODY);
  t.match(await ztap.run(["config", "show"], as), { code: 0 }, "an own one");
  chownSync(config, NOBODY - 1, NOBODY);
  t.match(await ztap.run(["config", "show"], as), { code: 64, stderr: /belongs to user 65533/ });
});

t.test("nor a certificate, a key or a password of etcd", { skip }, async (t) => {
  const ztap = new Ztap(t);
  const file = ztap.write("secret", "x");
  chmodSync(file, 0o646);
  for (const [key, name] of [
    ["ETCD_CA", "etcds"],
    ["ETCD_CERT", "etcds"],
    ["ETCD_KEY", "etcds"],
    ["ETCD_PASSWORD_FILE", "etcd"],
  ] as const) {
    const both: Record<string, string> =
      key === "ETCD_CERT" ? { ZTAP_ETCD_KEY: file } : key === "ETCD_KEY" ? { ZTAP_ETCD_CERT: file } : {};
    const user: Record<string, string> = key === "ETCD_PASSWORD_FILE" ? { ZTAP_ETCD_USER: "u" } : {};
    const env: Record<string, string> = {
      ZTAP_STORE: `${name}://127.0.0.1:1/ztap`,
      [`ZTAP_${key}`]: file,
      ...both,
      ...user,
    };
    t.match(
      await ztap.run(["policy", "list"], { env }),
      { code: 64, stderr: /secret, named in the etcd settings, is not read: others may write to .*chmod go-w/ },
      key,
    );
  }
});
