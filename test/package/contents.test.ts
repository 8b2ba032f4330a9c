/**
 * What the packages hold: equal bytes from two folders, the promises about sizes and glibc, a bill of materials and checksums that fit,
 * and forms that install: rpm, npm on each supported Node.js, and the tree for arm64 in an emulator.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import t from "tap";
import type { Test } from "tap";
import { whyNot } from "../kernel/sandbox.js";
import { HANG_MS } from "../wait.js";
import { fileOf, makePackages, supported, whyNoPackages } from "./packages.js";
import { ROOT } from "./root.js";

const sum = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");
const json = (file: string) => JSON.parse(readFileSync(file, "utf8"));
const { version, dependencies } = json(join(ROOT, "package.json"));

const NODES = supported(22, 24, 26).map((major) => join(ROOT, `.roots/node-${major}`));

/** Runs a command with the image's root, with the environment of the image alone. */
const ENTER = `mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && root=$1 && shift && exec chroot "$root" /bin/env -i "$@"`;

/** In memory where there is such a file system: npm writes thousands of files. */
const MEMORY = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** A folder that ends with the test. */
function folderOf(t: Test, name: string, parent = tmpdir()): string {
  const folder = mkdtempSync(join(parent, `ztap-${name}-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** This checkout once more, in another folder, built anew: what is not written there is linked. */
function secondCheckout(t: Test): string {
  const folder = join(folderOf(t, "checkout"), "another/folder");
  mkdirSync(folder, { recursive: true });
  const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: ROOT });
  for (const file of files
    .toString()
    .split("\0")
    .filter((one) => one !== "" && existsSync(join(ROOT, one))))
    cpSync(join(ROOT, file), join(folder, file));
  execFileSync("cp", ["--archive", "--link", join(ROOT, "node_modules"), folder]);
  mkdirSync(join(folder, ".packaging"));
  for (const part of ["stamp", "versions", "sources", "amd64/node", "amd64/sysroot"]) {
    mkdirSync(dirname(join(folder, ".packaging", part)), { recursive: true });
    execFileSync("cp", ["--archive", "--link", join(ROOT, ".packaging", part), join(folder, ".packaging", part)]);
  }
  execFileSync(process.execPath, ["bin/build.mjs", "cli"], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  return folder;
}

/** The time of the commit, which a copy without .git does not know. */
process.env["SOURCE_DATE_EPOCH"] ??= execFileSync("git", ["-C", ROOT, "log", "-1", "--format=%ct"], {
  encoding: "utf8",
}).trim();

await t.test("packages", { skip: whyNoPackages("all") ?? false, timeout: HANG_MS }, async (t) => {
  const keys = folderOf(t, "keys");
  const key = join(keys, "key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
  const files = makePackages(t, ["--only", "deb,rpm,npm", "--sign", key]);
  const tree = folderOf(t, "tree");
  for (const machine of ["amd64", "arm64"])
    execFileSync("dpkg-deb", ["-x", fileOf(files, `_${machine}.deb`), join(tree, machine)]);

  await t.test("two builds in different folders give equal bytes", async (t) => {
    const forms = ["--arch", "amd64", "--only", "deb,rpm"];
    const other = makePackages(t, forms, secondCheckout(t));
    for (const ending of ["_amd64.deb", ".x86_64.rpm", "-amd64.cdx.json"])
      t.equal(sum(fileOf(other, ending)), sum(fileOf(files, ending)), ending);
  });

  await t.test("a file that needs a newer glibc is refused", async (t) => {
    const script = `import { checkGlibc } from "${join(ROOT, "bin/package/native.mjs")}"; checkGlibc(process.argv[1], "it");`;
    const check = (file: string) =>
      spawnSync(process.execPath, ["--input-type=module", "-e", script, file], { encoding: "utf8" });
    t.match(check("/bin/bash"), { status: 1, stderr: /^package: it needs glibc 2\.3\d.*, and 2\.31 is promised/ });
    for (const machine of ["amd64", "arm64"])
      t.match(check(join(tree, machine, "usr/lib/ztap/dist/native/ztap.node")), { status: 0 }, machine);
  });

  await t.test("the checksums are those of the files", async (t) => {
    const lines = readFileSync(fileOf(files, "SHA256SUMS"), "utf8").trim().split("\n");
    const packages = files.filter((file) => !basename(file).startsWith("SHA256SUMS"));
    t.same(
      lines,
      packages.map((file) => `${sum(file)}  ${basename(file)}`),
    );
  });

  await t.test("the inputs of the build are named, with their sums", async (t) => {
    const text = readFileSync(fileOf(files, "BUILD-INPUTS"), "utf8");
    const packaging = join(ROOT, ".packaging");
    for (const line of readFileSync(join(packaging, "versions"), "utf8").trim().split("\n"))
      t.ok(text.split("\n").includes(line), line);
    const inputs = globSync(["sources/{libbpf,elfutils}_*", "*/node/node"], { cwd: packaging });
    t.ok(inputs.length > 6, inputs.join(" "));
    for (const input of inputs) t.ok(text.includes(`${sum(join(packaging, input))}  ${input}\n`), input);
    t.match(text, /^clang \S+$/m);
  });

  await t.test(
    "licences: of everything inside, with the texts of what is linked in, and how to link again",
    async (t) => {
      const told = execFileSync("rpm", ["-qp", "--queryformat", "%{LICENSE}", fileOf(files, ".x86_64.rpm")], {
        encoding: "utf8",
      });
      t.same(told.match(/\([^()]*$|^[^()]*\)/), null, told);
      const { components } = json(fileOf(files, "-amd64.cdx.json"));
      const named = new Set<string>(
        components.flatMap((one: { licenses: { expression?: string; license?: { id: string } }[] }) =>
          one.licenses.map(({ expression, license }) => expression ?? license?.id),
        ),
      );
      t.ok(named.size > 6, [...named].join(", "));
      for (const one of named) for (const id of one.match(/[\w.-]+/g) ?? []) t.ok(told.includes(id), id);
      const doc = join(tree, "amd64/usr/share/doc/ztap");
      for (const [name, title] of [
        ["LGPL-3", /GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3/],
        ["GPL-3", /GNU GENERAL PUBLIC LICENSE\s+Version 3/],
        ["GPL-2", /GNU GENERAL PUBLIC LICENSE\s+Version 2/],
      ] as const)
        t.match(readFileSync(join(doc, `licences/${name}.txt`), "utf8"), title);
      const { version: linked } = components.find((one: { name: string }) => one.name === "elfutils");
      const text = readFileSync(join(doc, "copyright"), "utf8");
      for (const part of [`https://snapshot.debian.org/package/elfutils/${linked}/`, ".packaging/sources/elfutils"])
        t.ok(text.includes(part), part);
    },
  );

  await t.test("root's folder for compiled code is there", async (t) => {
    t.equal(statSync(join(tree, "amd64/var/cache/ztap")).mode & 0o777, 0o755);
  });

  await t.test("the signature fits the checksums, and no others", async (t) => {
    const sums = fileOf(files, "SHA256SUMS");
    writeFileSync(join(keys, "signers"), `release ${readFileSync(`${key}.pub`, "utf8")}`);
    const args = [
      "-Y",
      "verify",
      "-f",
      join(keys, "signers"),
      "-I",
      "release",
      "-n",
      "ztap-release",
      "-s",
      `${sums}.sig`,
    ];
    const verify = (input: string) => spawnSync("ssh-keygen", args, { input }).status;
    t.equal(verify(readFileSync(sums, "utf8")), 0);
    t.not(verify(readFileSync(sums, "utf8").replace(/^./, "x")), 0);
  });

  await t.test("the tree holds what the bundle loads, and nothing for developers", async (t) => {
    const lib = join(tree, "amd64/usr/lib/ztap");
    const modules = globSync("{@*/*,[!@]*}", { cwd: join(lib, "node_modules") });
    t.ok(modules.includes("etcd3") && modules.includes("pino"), modules.join(" "));
    t.notOk(modules.some((name) => name.startsWith("@types/") || name === "typescript" || name === "oclif"));
    const unused = globSync("**/*.{ts,map,md}", { cwd: join(lib, "node_modules") });
    t.same(
      unused.filter((file) => !/licen[cs]e/i.test(basename(file))),
      [],
    );
    const { packages } = json(join(ROOT, "package-lock.json"));
    for (const file of globSync("node_modules/**/node_modules/*/package.json", { cwd: lib })) {
      const found = json(join(lib, file));
      if (found.version !== undefined) t.equal(found.version, packages[dirname(file)]?.version, file);
    }
    for (const unit of ["ztap.service", "ztap-boot.service"]) {
      const packaged = readFileSync(join(tree, "amd64/usr/lib/systemd/system", unit), "utf8");
      const example = readFileSync(join(ROOT, "examples/systemd", unit), "utf8");
      t.match(packaged, "ExecStart=/usr/bin/ztap agent");
      const settings = (text: string) =>
        text
          .split("\n")
          .filter((line) => !line.startsWith("#"))
          .join("\n");
      t.equal(settings(packaged), settings(example).replaceAll("/usr/local/bin", "/usr/bin"));
    }
  });

  await t.test("the bill of materials names every package of npm that is inside, and what is linked in", async (t) => {
    for (const machine of ["amd64", "arm64"]) {
      const { components, bomFormat, specVersion } = json(fileOf(files, `-${machine}.cdx.json`));
      t.same([bomFormat, specVersion], ["CycloneDX", "1.5"]);
      const names = new Set(components.map((one: { name: string; version: string }) => `${one.name}@${one.version}`));
      const lib = join(tree, machine, "usr/lib/ztap");
      for (const file of globSync("node_modules/{@*/*,[!@]*}/package.json", { cwd: lib })) {
        const found = json(join(lib, file));
        t.ok(names.has(`${found.name}@${found.version}`), `${found.name}@${found.version}`);
      }
      for (const linked of ["node", "libbpf", "elfutils", "zlib1g-dev", "libstdc++-10-dev", "@oclif/core"])
        t.ok(
          [...names].some((name) => String(name).startsWith(`${linked}@`)),
          linked,
        );
    }
  });

  await t.test("the rpm has the same files as the deb, and rpm installs and erases it", async (t) => {
    const rpm = fileOf(files, ".x86_64.rpm");
    const list = (command: string, args: readonly string[]): readonly string[] =>
      execFileSync(command, args, { encoding: "utf8", maxBuffer: 2 ** 26 })
        .trim()
        .split("\n");
    const root = folderOf(t, "rpm");
    // What the package depends on is no part of an empty root, and no shell is there for its scripts.
    execFileSync("rpm", ["--root", root, "--initdb"]);
    const install = ["--root", root, "--install", "--nodeps", "--noscripts", rpm];
    execFileSync("rpm", install);
    const installed = list("find", [root, "-type", "f", "-not", "-path", "*/.rpmdb/*", "-printf", "%P\n"]).toSorted();
    const deb = list("find", [join(tree, "amd64"), "-type", "f", "-printf", "%P\n"]).toSorted();
    t.same(installed, deb);
    t.equal(spawnSync("rpm", ["--root", root, "--verify", "--nodeps", "ztap"]).status, 0);
    const config = join(root, "etc/ztap/config.yaml");
    writeFileSync(config, "node: mine\n");
    execFileSync("rpm", ["--root", root, "--erase", "--noscripts", "ztap"]);
    t.notOk(existsSync(join(root, "usr/lib/ztap")));
    t.equal(readFileSync(`${config}.rpmsave`, "utf8"), "node: mine\n", "an edited configuration is kept");
  });

  await t.test("the tree for arm64 runs, in an emulator", { skip: whyNoArm() ?? false }, async (t) => {
    const [own, libraries] = [join(tree, "arm64"), join(ROOT, ".packaging/arm64/sysroot")];
    const lib = join(own, "usr/lib/ztap");
    const run = (...args: string[]) =>
      spawnSync("qemu-aarch64-static", ["-L", libraries, join(lib, "runtime/node"), ...args], { encoding: "utf8" });
    const told = run(join(lib, "bin/ztap.cjs"), "version");
    t.match(told, { status: 0, stdout: new RegExp(`^ztap ${version} .*linux-arm64`) }, told.stderr);
    const script = `const addon = require(process.argv[1]); console.log(typeof addon.loadObject, addon.libbpfVersion())`;
    const loaded = run("-e", script, join(lib, "dist/native/ztap.node"));
    t.match(loaded, { status: 0, stdout: /^function v?\d/ }, loaded.stderr);
  });

  const isRoot = process.getuid?.() === 0;
  await t.test("the image: digests fit, and its layers run", { skip: isRoot ? false : "needs root" }, async (t) => {
    const made = makePackages(t, ["--arch", "amd64", "--only", "oci"]);
    const layout = folderOf(t, "layout");
    execFileSync("tar", ["-xf", fileOf(made, ".oci.tar"), "-C", layout]);
    const fileOfBlob = (digest: string): string => join(layout, "blobs", digest.replace(":", "/"));
    for (const name of globSync("blobs/sha256/*", { cwd: layout })) t.equal(sum(join(layout, name)), basename(name));
    const [found] = json(join(layout, "index.json")).manifests;
    t.match(found, { platform: { architecture: "amd64", os: "linux" } });
    const { config, layers } = json(fileOfBlob(found.digest));
    const { rootfs, config: start } = json(fileOfBlob(config.digest));
    const root = folderOf(t, "image");
    const plain: string[] = [];
    for (const { digest, size } of layers) {
      t.equal(statSync(fileOfBlob(digest)).size, size);
      const bytes = gunzipSync(readFileSync(fileOfBlob(digest)));
      plain.push(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
      execFileSync("tar", ["-x", "-C", root], { input: bytes });
    }
    t.match(
      start.Labels["org.opencontainers.image.licenses"],
      /Apache-2\.0 AND .*LGPL-3\.0-or-later.*LicenseRef-Debian/,
    );
    t.same(rootfs, { type: "layers", diff_ids: plain });
    const inside = (...command: string[]) =>
      spawnSync("unshare", ["--mount", "sh", "-c", ENTER, "sh", root, ...start.Env, ...command], { encoding: "utf8" });
    t.match(inside(...start.Entrypoint, "version"), { status: 0, stdout: new RegExp(`^ztap ${version} `) });
    t.match(inside("git", "--version"), { status: 0, stdout: /^git version/ });
    t.match(inside("git", "ls-remote", "https://127.0.0.1:1/x"), { status: 128, stderr: /connect/ }, "git has https");
    t.match(inside(...start.Entrypoint, "init", "/tmp/new"), { status: 0 });
    const { components } = json(fileOf(made, ".oci.cdx.json"));
    for (const name of ["git", "libc6", "busybox-static"])
      t.ok(
        components.some((one: { name: string }) => one.name === name),
        name,
      );
  });

  await t.test(
    "npm install -g works without a registry on each supported Node.js",
    { skip: whyNoNodes() ?? false },
    async (t) => {
      const packed = folderOf(t, "pack");
      execFileSync("npm", ["pack", "--silent", "--pack-destination", packed], { cwd: ROOT, stdio: "pipe" });
      const tarballs = {
        "of the release": fileOf(files, ".tgz"),
        "of npm pack in a clone": join(packed, `ztap-${version}.tgz`),
      };
      for (const [name, tarball] of Object.entries(tarballs))
        for (const folder of NODES)
          await t.test(`the tarball ${name}, ${basename(folder)}`, async (t) => installByNpm(t, folder, tarball));
    },
  );
});

/** Installs it, and runs what needs its dependencies, its files and, as root, its addon. */
function installByNpm(t: Test, folder: string, tarball: string): void {
  const prefix = folderOf(t, "npm", MEMORY);
  const env = { PATH: `${prefix}/bin:${folder}:/usr/bin:/bin`, HOME: prefix };
  const npm = join(folder, "npm/bin/npm-cli.js");
  const args = [npm, "install", "-g", "--prefix", prefix, "--offline", "--no-audit", "--no-fund", tarball];
  execFileSync(join(folder, "node"), args, { env, cwd: prefix, stdio: "pipe" });
  const run = (script: string) => spawnSync("sh", ["-ec", script], { env, cwd: prefix, encoding: "utf8" });
  const { major } = /node-(?<major>\d+)$/.exec(folder)?.groups ?? {};
  const told = run("ztap version");
  t.match(told, { status: 0, stdout: new RegExp(`^ztap ${version} \\(Node\\.js ${major}\\.`) }, told.stderr);
  t.match(run("ztap init repository && cd repository && ztap validate"), { status: 0, stdout: /^valid: /m });
  if (whyNot() === null)
    t.match(run("ztap doctor --store file:$HOME/store"), { status: 0, stdout: /everything that enforcement needs/ });
  const installed = join(prefix, "lib/node_modules/ztap");
  for (const name of Object.keys(dependencies))
    t.equal(json(join(installed, "node_modules", name, "package.json")).version, lockedVersion(name), name);
}

function lockedVersion(name: string): string {
  return json(join(ROOT, "package-lock.json")).packages[`node_modules/${name}`].version;
}

function whyNoNodes(): string | null {
  const missing = NODES.find((folder) => !existsSync(join(folder, "node")));
  return missing === undefined ? null : `needs ${missing}, which bin/roots brings`;
}

function whyNoArm(): string | null {
  return existsSync("/usr/bin/qemu-aarch64-static") ? null : "needs qemu-user-static";
}
