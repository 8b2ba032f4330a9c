/**
 * Births without room: what a user makes takes no room of containers, and what found no room is opened or enforced once the agent has
 * looked, without closing what is older.
 */
import { execFileSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { withPin } from "../../src/adapters/ebpf/attach/pins.js";
import { HANG_MS } from "../wait.js";
import { rulesetOf, withPatterns } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
const USER = 65_534;

await t.test("births without room", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const OWN = "10.242.0.1";
  const PEER = "10.242.0.2";
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const peer = await sandbox.actor({ namespace: outside });
  const { port } = await peer.call("udpBind", { host: PEER, port: 0 });
  const policy = { cgroup: null, addresses: [OWN], ingress: { allow: [] }, egress: { allow: [] } };
  const native = loadNative();

  const start = async (name: string): Promise<Room> => {
    const node = sandbox.node(name);
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const pattern = { cgroup: `${sandbox.cgroup(name)}/*/*.scope` };
    const ruleset = withPatterns(rulesetOf(node, { "demo/web@n/*": policy }), { "demo/web@n/*": pattern }, true);
    await enforcer.apply(ruleset);
    const maps = nodeFolders(DEFAULT_PIN_ROOT, node).maps;
    return {
      enforcer,
      ruleset,
      again: () => sandbox.enforcer(node),
      onMap: (map, run) => withPin(native, join(maps, map), run),
    };
  };
  /** Makes a cgroup that ends with the test, before those above it. */
  const make = (t: Test, path: string): string => {
    const folder = join(sandbox.cgroupRoot, path);
    mkdirSync(folder);
    t.teardown(() => existsSync(folder) && rmdirSync(folder));
    return path;
  };
  /** Returns whether a process in the cgroup can send. */
  const sends = async (cgroup: string): Promise<boolean> => {
    const actor = await sandbox.actor({ cgroup, namespace: inside });
    const { id } = await actor.call("udpBind", { host: OWN, port: 0 });
    const sent = await actor.call("udpSend", { id, host: PEER, port, text: "x" }).catch(String);
    await actor.end();
    const text = JSON.stringify(sent) ?? "";
    if (/EPERM/.test(text)) return false;
    if (/"code"|Error/.test(text)) throw new Error(text);
    return true;
  };

  await t.test("a user's cgroups look like no container's", async (t) => {
    const { enforcer } = await start("users");
    const home = sandbox.cgroup("users/home");
    for (const file of ["", "cgroup.procs", "cgroup.subtree_control"])
      chownSync(join(sandbox.cgroupRoot, home, file), USER, USER);
    const ids = { uid: USER, gid: USER };
    const plain = join(home, containerId(1));
    execFileSync("mkdir", [join(sandbox.cgroupRoot, plain)], ids);
    const mapped = join(home, containerId(2));
    // As root, of a user namespace in which the user is root.
    execFileSync("unshare", ["-Ur", "mkdir", join(sandbox.cgroupRoot, mapped)], ids);
    t.teardown(() => [plain, mapped].forEach((path) => rmdirSync(join(sandbox.cgroupRoot, path))));
    t.strictSame(enforcer.newborns?.waiting(), []);
    t.ok(await sends(plain), "a user's cgroup is open");
    t.ok(await sends(mapped), "so is that of a user namespace");
    make(t, join(home, containerId(3)));
    t.match(enforcer.newborns?.waiting(), [{ container: containerId(3) }], "that of root is closed");
    t.notOk(await sends(join(home, containerId(3))));
    await enforcer.close();
  });
});

interface Room {
  readonly enforcer: EbpfEnforcer;
  readonly ruleset: ReturnType<typeof withPatterns>;
  again(): EbpfEnforcer;
  onMap(map: string, run: (fd: number) => void): void;
}

function containerId(number: number): string {
  return number.toString(16).padStart(64, "a");
}
