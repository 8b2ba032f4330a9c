/** The package of Debian and Ubuntu. */
import { globSync, lstatSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { OLDEST_GLIBC } from "./native.mjs";
import { run } from "./project.mjs";
import { scripts } from "./scripts.mjs";
import { CONFIGURATION } from "./tree.mjs";

export function makeDeb(project, machine, tree, work, out) {
  const folder = join(work, "deb");
  run("cp", ["--archive", "--link", tree, folder]);
  const control = join(folder, "DEBIAN");
  mkdirSync(control);
  const add = (name, text, mode = 0o644) => writeFileSync(join(control, name), text, { mode });
  add("control", controlFile(project, machine, tree));
  add("conffiles", CONFIGURATION.map((path) => `/${path}\n`).join(""));
  add("md5sums", sums(tree));
  for (const [name, text] of Object.entries(scripts(project, "deb"))) add(name, text, 0o755);
  for (const path of [...globSync("DEBIAN/*", { cwd: folder }), "DEBIAN", "."])
    utimesSync(join(folder, path), project.epoch, project.epoch);
  const file = join(out, `ztap_${project.debianVersion}-${project.release}_${machine}.deb`);
  run(
    "dpkg-deb",
    ["--root-owner-group", ...(project.isQuick ? ["-Znone"] : ["-Zxz", "-z6"]), "--build", folder, file],
    {
      env: { ...process.env, SOURCE_DATE_EPOCH: String(project.epoch), DPKG_DEB_THREADS_MAX: "2" },
    },
  );
  return file;
}

function controlFile(project, machine, tree) {
  const bytes = files(tree).reduce((sum, path) => sum + lstatSync(join(tree, path)).size, 0);
  return (
    `Package: ztap\nVersion: ${project.debianVersion}-${project.release}\nArchitecture: ${machine}\n` +
    `Maintainer: ztap <ztap@invalid>\nInstalled-Size: ${Math.ceil(bytes / 1024)}\nSection: net\nPriority: optional\n` +
    `Depends: libc6 (>= ${OLDEST_GLIBC}), libgcc-s1, libstdc++6, git (>= 1:2.30)\nRecommends: iproute2\n` +
    `Description: zero-trust network policy from a Git repository\n` +
    ` ztap makes the kernels of hosts enforce exactly the network policies that stand\n` +
    ` in a Git repository, with eBPF for each cgroup. It has a Node.js of its own.\n`
  );
}

function files(tree) {
  return globSync("**/*", { cwd: tree, dot: true })
    .filter((path) => lstatSync(join(tree, path)).isFile())
    .sort();
}

/** Of everything but the configuration, as dpkg expects. */
function sums(tree) {
  return files(tree)
    .filter((path) => !CONFIGURATION.includes(path))
    .map(
      (path) =>
        `${createHash("md5")
          .update(readFileSync(join(tree, path)))
          .digest("hex")}  ${path}\n`,
    )
    .join("");
}
