/** /usr/share/doc/ztap/copyright and licences/: of ztap and of everything that its packages contain. */
import { copyFileSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { closure } from "./modules.mjs";
import { fail } from "./project.mjs";

/** What is linked into the addon, with the licence's file in its source, or in the packages of Debian 11. */
export const LINKED = [
  { name: "libbpf", license: "BSD-2-Clause", file: "sources/libbpf/LICENSE.BSD-2-Clause" },
  { name: "elfutils", license: "LGPL-3.0-or-later", file: "sources/elfutils/COPYING-LGPLV3" },
  { name: "zlib1g-dev", license: "Zlib", file: "MACHINE/sysroot/usr/share/doc/zlib1g-dev/copyright" },
  {
    name: "libstdc++-10-dev",
    license: "GPL-3.0-or-later WITH GCC-exception-3.1",
    file: "MACHINE/sysroot/usr/share/doc/libgcc-s1/copyright",
  },
];

export function writeLicences(project, machine, tree, folder) {
  const target = join(tree, folder, "licences");
  mkdirSync(target, { recursive: true });
  const rows = [];
  const add = (name, version, license, file) => {
    const copied = `${name.replaceAll("/", "-").replace("@", "")}.txt`;
    if (file !== undefined) copyFileSync(file, join(target, copied));
    rows.push(`${name} ${version}: ${license}${file === undefined ? "" : ` (licences/${copied})`}`);
  };
  add("node", project.manifest.config.node, "MIT and others", join(project.packaging, machine, "node/LICENSE"));
  for (const { name, license, file } of LINKED) {
    const { version } = linkedVersion(project, name, machine);
    add(name, version, license, join(project.packaging, file.replace("MACHINE", machine)));
  }
  for (const { path, name, version, license } of lockedModules(project)) {
    const [file] = globSync(join(project.root, path, "{LICEN[CS]E,licen[cs]e,COPYING}*")).sort();
    const copied = rows.some((row) => row.startsWith(`${name} `)) ? `${name}-${version}` : name;
    add(copied, version, license, file);
  }
  const text =
    `ztap ${project.version}: Apache-2.0, in /usr/lib/ztap/LICENSE.\n` +
    `The eBPF programs of dist/native/ztap.bpf.o: BSD-2-Clause or GPL-2.0-only, by choice.\n\n` +
    `This package contains besides, in files of their own or inside dist/cli and dist/native:\n\n${rows.join("\n")}\n`;
  writeFileSync(join(tree, folder, "copyright"), text);
}

/** @returns the package of Debian that a library comes from */
export function linkedVersion(project, name, machine) {
  const found = project.versions.find(
    (one) => one.name === name && one.image === undefined && ["source", machine].includes(one.machine),
  );
  return found ?? fail(`.packaging/versions has no ${name} for ${machine}`);
}

/** @returns the npm packages that are in the tree as they are, and those inside the bundle of the CLI */
export function lockedModules(project) {
  const bundled = JSON.parse(readFileSync(join(project.root, "dist/bundled.json"), "utf8"));
  return [...new Set([...closure(project.lock), ...bundled])].sort().map((path) => {
    const { version, integrity, license } = project.lock.packages[path] ?? fail(`package-lock.json has no ${path}`);
    const manifest = JSON.parse(readFileSync(join(project.root, path, "package.json"), "utf8"));
    return { path, name: manifest.name, version, integrity, license: license ?? manifest.license ?? "unknown" };
  });
}
