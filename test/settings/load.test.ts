/** Where settings are looked for: on the command line, in variables, in files that are named or found. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import { writableByOthers } from "../../src/adapters/system/ownership.js";
import { loadLayers, type Invocation } from "../../src/settings/load.js";
import { listSettings } from "../../src/settings/settings.js";
import { ROOT, USER } from "./layers.js";

const NOBODY = 65534;
const isRoot = process.geteuid?.() === 0;

/** A home and an /etc of the test's own. */
class Machine {
  readonly folder = mkdtempSync(join(tmpdir(), `ztap-settings-${process.pid}-`));
  readonly home = join(this.folder, "home");
  readonly userFile = join(this.home, ".config/ztap/config.yaml");
  readonly systemFile = join(this.folder, "etc/ztap/config.yaml");

  constructor(t: Test) {
    t.teardown(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  write(path: string, text: string): string {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  invocation(changes: Partial<Invocation> = {}): Invocation {
    return {
      flags: {},
      config: undefined,
      environment: {},
      machine: { ...USER, home: this.home },
      writableByOthers: (path) => writableByOthers(path, 0),
      systemFile: this.systemFile,
      ...changes,
    };
  }

  /** `node` and `backend`, each with its origin. */
  async shown(changes: Partial<Invocation> = {}): Promise<readonly string[]> {
    const invocation = this.invocation(changes);
    const { layers } = await loadLayers(invocation);
    return listSettings(layers, invocation.machine)
      .filter(({ key }) => key === "node" || key === "backend")
      .map(({ key, value, origin }) => `${key} ${String(value)}: ${origin}`);
  }
}

t.test("precedence by key: flag, variable, the user's file, the machine's file", async (t) => {
  const machine = new Machine(t);
  const { userFile, systemFile } = machine;
  t.same(await machine.shown(), ["node web-1: default", "backend auto: default"], "no file is no matter");
  t.same((await loadLayers(machine.invocation())).files, [
    { path: userFile, found: false },
    { path: systemFile, found: false },
  ]);
  machine.write(systemFile, "# of the machine\nnode: s\nbackend: pf\n");
  t.same(await machine.shown(), [`node s: ${systemFile}:2`, `backend pf: ${systemFile}:3`]);
  machine.write(userFile, "node: u\n");
  t.same(await machine.shown(), [`node u: ${userFile}:1`, `backend pf: ${systemFile}:3`]);
  const environment = { ZTAP_NODE: "v", ZTAP_BACKEND: "none" };
  t.same(await machine.shown({ environment }), [
    "node v: environment ZTAP_NODE",
    "backend none: environment ZTAP_BACKEND",
  ]);
  t.same(await machine.shown({ environment, flags: { node: "f", "allow-lockout": "true" } }), [
    "node f: flag --node",
    "backend none: environment ZTAP_BACKEND",
  ]);
});

t.test("XDG_CONFIG_HOME moves the user's file; a relative one is ignored", async (t) => {
  const machine = new Machine(t);
  const [moved, home] = [join(machine.folder, "xdg"), machine.home];
  machine.write(machine.userFile, "node: home\n");
  machine.write(join(moved, "ztap/config.yaml"), "node: xdg\n");
  const nodeOf = async (xdgConfigHome: string, isRoot = false) =>
    (await machine.shown({ machine: { ...USER, isRoot, home, xdgConfigHome }, writableByOthers: () => null }))[0];
  t.match(await nodeOf(moved), "node xdg: ");
  t.match(await nodeOf("xdg"), "node home: ");
  t.match(await nodeOf(""), "node home: ");
  t.match(await nodeOf(moved, true), "node xdg: ", "also root's");
  t.match(await nodeOf("", true), "node web-1: default", "root has no file in HOME, which may be another user's");
});

t.test("a file that is named explicitly replaces the others, and must exist", async (t) => {
  const machine = new Machine(t);
  machine.write(machine.userFile, "node: u\n");
  machine.write(machine.systemFile, "backend: pf\n");
  const named = machine.write(join(machine.folder, "own.yaml"), "\nnode: n\n");
  t.same(await machine.shown({ config: named }), [`node n: ${named}:2`, "backend auto: default"]);
  t.same(await machine.shown({ config: "/dev/null" }), ["node web-1: default", "backend auto: default"]);
  await t.rejects(machine.shown({ config: join(machine.folder, "none") }), {
    code: "invalid-settings",
    message: /configuration file .*none cannot be read: no such file/,
  });
  await t.rejects(machine.shown({ config: "" }), {
    code: "invalid-settings",
    message: /--config: found "", wanted a file/,
  });
});

t.test("a file that is found but invalid or unreadable is an error", async (t) => {
  const machine = new Machine(t);
  const { userFile, systemFile } = machine;
  machine.write(systemFile, "node: s\nlisten: [\n");
  await t.rejects(machine.shown(), { code: "invalid-settings", message: `${systemFile}:3:1 ZT1001 ` });
  machine.write(systemFile, "nod: s\n");
  await t.rejects(machine.shown(), { message: /config\.yaml:1:1 ZT2003 nod .*did you mean node/ });
  rmSync(systemFile);
  mkdirSync(systemFile);
  await t.rejects(machine.shown(), { message: /cannot be read: it is a folder/ });
  rmSync(systemFile, { recursive: true });
  mkdirSync(dirname(userFile), { recursive: true });
  symlinkSync("nowhere", userFile);
  await t.rejects(machine.shown(), { message: /cannot be read: no such file/ }, "a link that leads nowhere");
  rmSync(machine.home, { recursive: true });
  writeFileSync(machine.home, "");
  t.same((await machine.shown()).length, 2, "a home that is no folder has no file in it");
});

t.test("nobody reads a file that another user can write", { skip: !isRoot && "not root" }, async (t) => {
  const machine = new Machine(t);
  const { systemFile } = machine;
  const asRoot = { machine: { ...ROOT, home: machine.home } };
  machine.write(systemFile, "node: s\n");
  t.match(await machine.shown(asRoot), [`node s: ${systemFile}:1`]);
  const refused = (why: RegExp) => refusedIf(asRoot, why);
  const refusedIf = (changes: Partial<Invocation>, why: RegExp) =>
    t.rejects(machine.shown(changes), {
      code: "invalid-settings",
      message: new RegExp(`${changes.config ?? systemFile} is not read: .*${why.source}.*chmod go-w`),
    });
  chmodSync(systemFile, 0o666);
  await refused(/others may write to .*config\.yaml/);
  await refusedIf({ ...asRoot, config: systemFile }, /others may write to/);
  await refusedIf({}, /others may write to/);
  chmodSync(systemFile, 0o644);
  chownSync(systemFile, NOBODY, NOBODY);
  await refused(/belongs to user 65534/);
  chownSync(systemFile, 0, 0);
  chmodSync(dirname(systemFile), 0o777);
  await refused(/others may write to .*etc\/ztap/);
  chmodSync(dirname(systemFile), 0o1777);
  t.match(await machine.shown(asRoot), [`node s: ${systemFile}:1`], "in a sticky folder nobody else replaces it");
  chmodSync(dirname(systemFile), 0o755);
  symlinkSync(systemFile, machine.write(join(machine.folder, "open/x"), "") + ".yaml");
  chmodSync(join(machine.folder, "open"), 0o777);
  await refusedIf({ ...asRoot, config: join(machine.folder, "open/x.yaml") }, /others may write to .*open/);
  rmSync(systemFile);
  t.match(await machine.shown(asRoot), ["node web-1: default"], "what is not there is no matter");
});

t.test(
  "an ordinary user reads root's files and own ones, and none of a third user",
  { skip: !isRoot && "not root" },
  async (t) => {
    const machine = new Machine(t);
    const { userFile, systemFile } = machine;
    const asUser = { writableByOthers: (path: string) => writableByOthers(path, NOBODY) };
    machine.write(systemFile, "node: s\n");
    t.match(await machine.shown(asUser), [`node s: ${systemFile}:1`], "root's");
    machine.write(userFile, "node: u\n");
    chmodSync(userFile, 0o664);
    for (const path of [userFile, dirname(userFile), machine.home]) chownSync(path, NOBODY, NOBODY);
    t.match(await machine.shown(asUser), [`node u: ${userFile}:1`], "the user's own, whatever the user's group");
    chownSync(dirname(userFile), NOBODY - 1, NOBODY);
    await t.rejects(machine.shown(asUser), { code: "invalid-settings", message: /ztap belongs to user 65533/ });
  },
);
