/**
 * Births without room: what a user makes takes no room of containers, and what found no room is opened or enforced once the agent has
 * looked, without closing what is older.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import type { WaitingCgroup } from "../../src/interfaces/enforcer.js";
import { ABI, OVERFLOW } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { withPin } from "../../src/adapters/ebpf/attach/pins.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { rulesetOf, withPatterns } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
const USER = 65_534;
const USER_IDS = { uid: USER, gid: USER };

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
      // Its programs would close containers of the next test.
      end: async (last) => {
        await last.apply(rulesetOf(node, {}));
        await last.close();
      },
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
  /** What waits of these cgroups: other tests make containers meanwhile. */
  const waitingOf = (enforcer: EbpfEnforcer, paths: readonly string[]): readonly WaitingCgroup[] => {
    const ids = new Set(paths.map((path) => native.cgroupId(join(sandbox.cgroupRoot, path, "."))));
    return (enforcer.newborns?.waiting() ?? []).filter(({ id }) => ids.has(id));
  };
  /** Returns whether a process in the cgroup can send. */
  const sends = async (cgroup: string): Promise<boolean> => {
    const actor = await sandbox.actor({ cgroup, namespace: inside });
    const { id } = await actor.call("udpBind", { host: OWN, port: 0 });
    const sent = await actor.call("udpSend", { id, host: PEER, port, text: "x" }).catch(String);
    await actor.end();
    const text = JSON.stringify(sent);
    if (/EPERM/.test(text)) return false;
    if (/"code"|Error/.test(text)) throw new Error(text);
    return true;
  };

  /** Returns true as soon as it can: the agent of another test may close a container as well, until it has asked its runtime. */
  const opens = (cgroup: string): Promise<boolean> =>
    waitUntil(() => sends(cgroup), { what: `the release of ${cgroup}` });

  await t.test("a user's cgroups look like no container's", async (t) => {
    const { enforcer, end } = await start("users");
    const home = sandbox.cgroup("users/home");
    for (const file of ["", "cgroup.procs", "cgroup.subtree_control"])
      chownSync(join(sandbox.cgroupRoot, home, file), USER, USER);
    const plain = join(home, containerId(1));
    execFileSync("mkdir", [join(sandbox.cgroupRoot, plain)], USER_IDS);
    t.teardown(() => rmdirSync(join(sandbox.cgroupRoot, plain)));
    t.strictSame(waitingOf(enforcer, [plain]), []);
    t.ok(await sends(plain), "a user's cgroup is open");
    await t.test("nor do those of root in a user namespace", { skip: whyNoUserNamespace() ?? false }, async (t) => {
      const mapped = join(home, containerId(2));
      execFileSync("unshare", ["-Ur", "mkdir", join(sandbox.cgroupRoot, mapped)], USER_IDS);
      t.teardown(() => rmdirSync(join(sandbox.cgroupRoot, mapped)));
      t.strictSame(waitingOf(enforcer, [mapped]), []);
      t.ok(await sends(mapped), "it is open");
    });
    make(t, join(home, containerId(3)));
    const ofRoot = join(home, containerId(3));
    t.match(waitingOf(enforcer, [ofRoot]), [{ container: containerId(3) }], "that of root is closed");
    t.notOk(await sends(ofRoot));
    await end(enforcer);
  });

  await t.test("a container that finds no room waits as others do", async (t) => {
    const room = await start("ids");
    const { enforcer } = room;
    const system = sandbox.cgroup("ids/system");
    fill(room, "ztap_living");
    const [own, other] = [1, 2].map((id) => make(t, `${system}/${containerId(id)}`));
    const scope = make(t, `${system}/worker.scope`);
    if (own === undefined || other === undefined) throw new TypeError("no cgroups");
    t.notOk(await sends(own), "it is closed");
    const removed = await keepSocket(make(t, `${system}/${containerId(3)}`));
    const waiting = waitingOf(enforcer, [own, other, scope]);
    t.strictSame(
      waiting.map(({ container }) => container).toSorted(),
      [containerId(1), containerId(2), null].toSorted(),
      "those that exist wait",
    );
    enforcer.newborns?.release(waiting, [own]);
    t.notOk(await sends(own), "a workload's stays closed");
    t.ok(await opens(other), "one of nobody's is opened");
    t.ok(await sends(scope), "so is what a pattern names, if the agent says so");
    t.ok(isCrowded(room, native.cgroupId(join(sandbox.cgroupRoot, own, "."))));
    const [template] = room.ruleset.births?.templates ?? [];
    if (template === undefined) throw new TypeError("no template");
    const instance = { ...template.subject, workload: "demo/web@n/one", cgroup: own };
    await enforcer.apply({ ...room.ruleset, subjects: [instance], digest: "found" });
    t.notOk(isCrowded(room, native.cgroupId(join(sandbox.cgroupRoot, own, "."))), "the workload's own programs decide");
    t.notOk(await sends(own), "by its policy");
    await enforcer.apply(room.ruleset);
    t.ok(await opens(own), "it is closed for no lack of room any more");
    enforcer.newborns?.release([{ id: removed.id, container: containerId(3) }], []);
    t.notOk(await removed.sends(), "one that was removed is not opened");
    await removed.end();
    await room.end(enforcer);
  });

  await t.test("without room for ids, what is older stays open, and all are opened again", async (t) => {
    const room = await start("ranges");
    const { enforcer } = room;
    const system = sandbox.cgroup("ranges/system");
    const parent = native.cgroupId(join(sandbox.cgroupRoot, system, "."));
    const old = make(t, `${system}/sshd`);
    fill(room, "ztap_living");
    fill(room, "ztap_crowded");
    const first = make(t, `${system}/${containerId(1)}`);
    t.notOk(await sends(first), "a container is closed");
    const between = make(t, `${system}/between`);
    t.ok(await sends(between), "what is younger than the last that found no room is open");
    const removed = await keepSocket(make(t, `${system}/${containerId(2)}`));
    const young = make(t, `${system}/young`);
    t.ok(await sends(old), "what is older is open");
    t.ok(await sends(young), "what is younger is open");
    t.notOk(await sends(between), "what is between them is closed");

    await enforcer.close();
    const next = room.again();
    await next.open();
    await next.apply(room.ruleset);
    const waiting = waitingOf(next, [old, first, between, young]);
    t.strictSame(
      waiting.map(({ container }) => container).toSorted(),
      [containerId(1), null].toSorted(),
      "those between them wait for the next agent",
    );
    next.newborns?.release(waiting, [first]);
    t.ok(await sends(between), "a service is opened");
    t.notOk(await sends(first), "a workload's container stays closed");
    next.newborns?.release(waiting, []);
    t.ok(await opens(first), "one of nobody's is opened");
    t.notOk(await removed.sends(), "one that was removed is not");
    next.newborns?.waiting();
    t.ok(hasRange(room, parent), "while its socket lives, the range stays");
    await removed.end();
    await waitUntil(
      () => {
        next.newborns?.waiting();
        return !hasRange(room, parent);
      },
      { what: "the end of the range" },
    );
    const last = make(t, `${system}/${containerId(4)}`);
    t.notOk(await sends(last), "the next one is closed again");
    t.ok(await sends(between), "and what is older is not");
    await next.apply(rulesetOf(sandbox.node("ranges"), {}));
    t.ok(await opens(last), "without a pattern nothing is closed");
    t.notOk(hasRange(room, parent) || isCrowded(room, 2n ** 60n), "nothing is left");
    await next.close();
  });

  /** A socket in a removed cgroup: its process is in another one. */
  async function keepSocket(cgroup: string): Promise<Kept> {
    const folder = join(sandbox.cgroupRoot, cgroup);
    const actor = await sandbox.actor({ cgroup, namespace: inside });
    const { id } = await actor.call("udpBind", { host: OWN, port: 0 });
    const cgroupId = native.cgroupId(`${folder}/.`);
    if (cgroupId === null) throw new TypeError(`no cgroup ${cgroup}`);
    for (const pid of readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean))
      writeFileSync(join(sandbox.cgroupRoot, "cgroup.procs"), pid);
    rmdirSync(folder);
    return {
      id: cgroupId,
      sends: async () => {
        const sent = await actor.call("udpSend", { id, host: PEER, port, text: "x" }).catch(String);
        return !/EPERM/.test(JSON.stringify(sent));
      },
      end: () => actor.end(),
    };
  }
});

/** Returns why a user cannot make a user namespace here. */
function whyNoUserNamespace(): string | null {
  const { status, stderr } = spawnSync("unshare", ["-Ur", "true"], { ...USER_IDS, encoding: "utf8" });
  return status === 0 ? null : `users cannot make user namespaces: ${stderr.trim()}`;
}

/** Fills a bound, as cgroups do that were removed and whose sockets live. */
function fill({ onMap }: Room, map: "ztap_living" | "ztap_crowded"): void {
  const native = loadNative();
  onMap(map, (fd) => {
    if (map === "ztap_living") {
      const { count, keys } = native.mapRead(fd);
      const full = Buffer.alloc(4);
      full.writeUInt32LE(ABI.MAX_OF_ONE_NAME);
      for (let at = 0; at < count; at++) native.mapSet(fd, keys.subarray(at * 4, (at + 1) * 4), full);
      return;
    }
    for (let at = 0; at < ABI.MAX_CROWDED; at++) {
      const key = Buffer.alloc(8);
      key.writeBigUInt64LE(2n ** 60n + BigInt(at));
      native.mapSet(fd, key, Buffer.from([ABI.CROWDED_CONTAINER | ABI.CROWDED_REMOVED]));
    }
  });
}

/** Returns whether a range below the cgroup closes anything. */
function hasRange({ onMap }: Room, parent: bigint | null): boolean {
  let last = 0n;
  onMap("ztap_overflows", (fd) => {
    last = loadNative().mapGet(fd, keyOf(parent))?.readBigUInt64LE(OVERFLOW.last) ?? 0n;
  });
  return last !== 0n;
}

function isCrowded({ onMap }: Room, cgroupId: bigint | null): boolean {
  let isFound = false;
  onMap("ztap_crowded", (fd) => {
    isFound = loadNative().mapGet(fd, keyOf(cgroupId)) !== null;
  });
  return isFound;
}

function keyOf(cgroupId: bigint | null): Buffer {
  const key = Buffer.alloc(8);
  key.writeBigUInt64LE(cgroupId ?? 0n);
  return key;
}

interface Kept {
  readonly id: bigint;
  sends(): Promise<boolean>;
  end(): Promise<void>;
}

interface Room {
  readonly enforcer: EbpfEnforcer;
  readonly ruleset: ReturnType<typeof withPatterns>;
  again(): EbpfEnforcer;
  end(last: EbpfEnforcer): Promise<void>;
  onMap(map: string, run: (fd: number) => void): void;
}

function containerId(number: number): string {
  return number.toString(16).padStart(64, "a");
}
