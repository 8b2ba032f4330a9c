/**
 * The maintainer scripts, run by themselves in an empty Debian: what users can put in their way, and what a removal that fails leaves.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import { HANG_MS, waitUntil } from "../wait.js";
import { Root, ROOT, whyNoRoot } from "./root.js";

/** @returns the folder of the root with the scripts of dpkg */
function putScripts(t: Test, root: Root): string {
  const write =
    `import { scripts } from ${JSON.stringify(join(ROOT, "bin/package/scripts.mjs"))};` +
    `process.stdout.write(JSON.stringify({ ...scripts({ commands: [] }, "deb"), ...scripts({ commands: [] }, "rpm") }));`;
  const made: Record<string, string> = JSON.parse(
    execFileSync(process.execPath, ["--input-type=module", "-e", write], { encoding: "utf8" }),
  );
  const folder = mkdtempSync(join(tmpdir(), `ztap-scripts-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(made)) writeFileSync(join(folder, name), text, { mode: 0o755 });
  return root.copy(folder);
}

const skip = whyNoRoot("bookworm") ?? false;
const NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups";

async function open(t: Test): Promise<{ root: Root; scripts: string; does: (script: string) => string }> {
  const root = await Root.open(t, "bookworm", `zt${process.pid}-scripts`);
  const scripts = putScripts(t, root);
  const does = (script: string): string => {
    const { code, stdout, stderr } = root.run(script);
    t.equal(code, 0, `${script}: ${stdout}${stderr}`);
    return stdout + stderr;
  };
  return { root, scripts, does };
}

await t.test("purge deletes nothing that others put in its way", { skip, timeout: HANG_MS }, async (t) => {
  const { scripts, does } = await open(t);
  const PRECIOUS = "mkdir -p /srv/precious/links && echo kept > /srv/precious/links/file";
  const isKept = (what: string) => t.equal(does("cat /srv/precious/links/file"), "kept\n", what);
  does(`${PRECIOUS}; mkdir /srv/precious/web; cp -r /srv/precious/links /srv/precious/web`);

  await t.test("a user's link in place of the pins", async (t) => {
    does(`chmod 1777 /sys/fs/bpf; ${NOBODY} ln -s /srv/precious /sys/fs/bpf/ztap`);
    t.match(does(`${scripts}/postrm purge`), /\/sys\/fs\/bpf\/ztap is no folder of root's alone.*left as it is/);
    isKept("through the link");
    t.equal(does("cat /srv/precious/web/links/file"), "kept\n");
    t.notMatch(does(`${scripts}/prerm remove`), /still in force/);
    does("rm /sys/fs/bpf/ztap");
  });

  await t.test("a user's folder of pins, and one that others can write", async (t) => {
    does(`${NOBODY} mkdir /sys/fs/bpf/ztap; ${NOBODY} ln -s /srv/precious /sys/fs/bpf/ztap/web`);
    t.match(does(`${scripts}/postrm purge`), /left as it is/);
    does("chown 0 /sys/fs/bpf/ztap && chmod 777 /sys/fs/bpf/ztap");
    t.match(does(`${scripts}/postrm purge`), /left as it is/);
    isKept("through a node");
    does("rm -r /sys/fs/bpf/ztap");
  });

  await t.test("a folder that is in no BPF file system", async (t) => {
    does(
      `mount -t tmpfs tmpfs /sys/fs/bpf && mkdir -p -m 755 /sys/fs/bpf/ztap/web/links && touch /sys/fs/bpf/ztap/web/links/file`,
    );
    t.match(does(`${scripts}/postrm purge; test -e /sys/fs/bpf/ztap/web/links/file`), /left as it is/);
    does("umount /sys/fs/bpf");
  });

  await t.test("a link beside the folders of nodes", async (t) => {
    does("mkdir -p -m 700 /sys/fs/bpf/ztap/web/links; ln -s /srv/precious /sys/fs/bpf/ztap/other");
    t.match(does(`${scripts}/postrm purge`), /ztap\/other is no folder of root's alone/);
    isKept("through the name of a node");
    does("test ! -e /sys/fs/bpf/ztap/web; rm /sys/fs/bpf/ztap/other");
  });

  await t.test("what is still in force is said by an installation", async (t) => {
    t.match(does(`${scripts}/postinst configure`), /nothing is enforced yet/);
    does("mkdir -p -m 700 /sys/fs/bpf/ztap/web/links");
    t.match(does(`${scripts}/postinst configure`), /still in force: `ztap enforcement show`/);
  });

  await t.test("pins of root's are deleted", async (t) => {
    does("mkdir -p -m 700 /sys/fs/bpf/ztap/web/links/x");
    t.match(does(`${scripts}/postrm purge`), /enforcement is removed/);
    does("test ! -e /sys/fs/bpf/ztap");
  });

  await t.test("links and mounts in place of state and configuration", async (t) => {
    does(
      "ln -s /srv/precious /var/lib/ztap; mkdir -p /etc/ztap/below; ln -s /srv/precious /etc/ztap/link; " +
        "mount --bind /srv/precious /etc/ztap/below; ln -s /srv/precious /var/cache/ztap",
    );
    t.match(does(`${scripts}/postrm purge`), /something is mounted below \/etc\/ztap, which is left as it is/);
    isKept("through links and a mount");
    does("test ! -h /var/lib/ztap && test ! -h /var/cache/ztap");
    does(`umount /etc/ztap/below; ${scripts}/postrm purge; test ! -e /etc/ztap`);
  });
});

await t.test("an installation gives root a cache of its own", { skip, timeout: HANG_MS }, async (t) => {
  const { scripts, does } = await open(t);
  does("mkdir -m 777 /var/cache/ztap && mkdir /var/cache/ztap/v22-x && touch /var/cache/ztap/v22-x/code");
  does(`umask 0; ${scripts}/postinst configure`);
  t.equal(does("stat -c '%u %a' /var/cache/ztap; ls /var/cache/ztap"), "0 755\n");
  does(`chown 65534 /var/cache/ztap; ${scripts}/postinst configure 0.1.0`);
  t.equal(does("stat -c '%u %a' /var/cache/ztap"), "0 755\n");
});

await t.test("a removal stops root's agents, and waits for no user's", { skip, timeout: HANG_MS }, async (t) => {
  const { root, scripts, does } = await open(t);
  // Any program does: what counts is the file and its arguments.
  does("mkdir -p /usr/lib/ztap/runtime && cp /usr/bin/perl /usr/lib/ztap/runtime/node");
  const agent = ["/usr/lib/ztap/runtime/node", "-e", "$|=1; print 'up'; sleep", "x/bin/ztap.cjs", "agent"];
  const former = root.start(agent);
  await former.says("up");
  // As dpkg and rpm replace a file.
  does("cp /usr/lib/ztap/runtime/node /tmp/new && mv /tmp/new /usr/lib/ztap/runtime/node");
  const users = root.start([...NOBODY.split(" "), ...agent]);
  const roots = root.start(agent);
  await Promise.all([users.says("up"), roots.says("up")]);
  does(`${scripts}/prerm remove`);
  t.match(await roots.ended, { signal: "SIGTERM" });
  await waitUntil(() => former.isOver, { what: "the end of the agent that an upgrade left", timeoutMs: 60_000 });
  t.equal(users.isOver, false);
});

await t.test("units, where systemd runs", { skip, timeout: HANG_MS }, async (t) => {
  const { root, scripts, does } = await open(t);
  // In place of systemd, which no such root has: it notes what it is asked, and has one unit active, and one enabled.
  const systemctl = `#!/bin/sh\necho "$*" >> /tmp/asked\ncase "$*" in *is-active*ztap.service | *is-enabled*) exec test -e /tmp/answer ;; *is-active*) exit 3 ;; esac\n`;
  does("mkdir -p /run/systemd/system /usr/local/sbin /usr/lib/ztap/runtime");
  writeFileSync(root.at("/usr/bin/systemctl"), systemctl);
  chmodSync(root.at("/usr/bin/systemctl"), 0o755);
  mkdirSync(root.at("/tmp/answer"));
  const asked = (script: string): string => does(`: > /tmp/asked; ${script} >&2; cat /tmp/asked`);

  await t.test("a removal that does not come about starts what had run", async (t) => {
    asked(`${scripts}/prerm remove`);
    t.match(asked(`${scripts}/postinst abort-remove`), /^start ztap\.service$/m);
    t.notMatch(asked(`${scripts}/postinst abort-remove`), /start/, "once");
    t.notMatch(
      asked(`${scripts}/prerm remove; rmdir /tmp/answer; ${scripts}/prerm remove; ${scripts}/postinst abort-remove`),
      /^start/m,
    );
    does("mkdir /tmp/answer");
  });

  await t.test("installed again after a removal", async (t) => {
    const install = `${scripts}/preinst install 0.1.0-1; ${scripts}/postinst configure 0.1.0-1`;
    asked(`${scripts}/prerm remove; ${scripts}/postrm remove; test ! -e /run/ztap-stopped`);
    t.match(asked(install), /^start ztap\.service$/m, "an agent that is enabled starts");
    t.notMatch(
      asked(`${scripts}/preinst upgrade 0.1.0-1; ${scripts}/postinst configure 0.1.0-1`),
      /^start/m,
      "upgrade",
    );
    does("rmdir /tmp/answer");
    const said = asked(install);
    t.notMatch(said, /^start /m);
    t.match(said, /No agent is started.*\n.*systemctl enable --now ztap-boot ztap/);
  });
});
