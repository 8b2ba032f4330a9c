/** /usr/share/doc/ztap/copyright and licences/: of ztap and of everything that its packages contain. */
import { copyFileSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { closure } from "./modules.mjs";
import { fail } from "./project.mjs";

/** What is linked into the addon, with the licence's file in its source, or in the packages of Debian 11. */
export const LINKED = [
  { name: "libbpf", license: "BSD-2-Clause", file: "sources/libbpf/LICENSE.BSD-2-Clause" },
  { name: "elfutils", license: "LGPL-3.0-or-later OR GPL-2.0-or-later", file: "sources/elfutils/COPYING-LGPLV3" },
  { name: "zlib1g-dev", license: "Zlib", file: "MACHINE/sysroot/usr/share/doc/zlib1g-dev/copyright" },
  {
    name: "libstdc++-10-dev",
    license: "GPL-3.0-or-later WITH GCC-exception-3.1",
    file: "MACHINE/sysroot/usr/share/doc/libgcc-s1/copyright",
  },
  {
    name: "libgcc-10-dev",
    license: "GPL-3.0-or-later WITH GCC-exception-3.1",
    file: "MACHINE/sysroot/usr/share/doc/libgcc-s1/copyright",
  },
];

/** The texts that the licences above name: LGPL-3 is an addition to GPL-3. */
const TEXTS = { "GPL-3": "COPYING", "LGPL-3": "COPYING-LGPLV3", "GPL-2": "COPYING-GPLV2" };
const PROGRAMS = "BSD-2-Clause OR GPL-2.0-only";
/** Of Node.js and of what is inside it, as its LICENSE tells. */
export const RUNTIME = [
  "MIT",
  "Apache-2.0",
  "Apache-2.0 WITH LLVM-exception",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "CC0-1.0 OR BSD-2-Clause",
  "ISC",
  "Unicode-3.0",
  "Unicode-DFS-2016",
  "Zlib",
];

/**
 * @param others licences of what a form has besides
 * @returns an SPDX expression that names the licences of everything in a package
 */
export function licenceExpression(project, others = []) {
  const all = [
    ...[project.manifest.license, PROGRAMS, ...RUNTIME, ...LINKED.map(({ license }) => license)],
    ...lockedModules(project).map(({ license }) => license.replace(/^\((.*)\)$/, "$1")),
    ...others,
  ];
  return joined(all);
}

/** @returns an SPDX expression: all of these licences */
export function joined(licences) {
  return [...new Set(licences)]
    .sort()
    .map((one) => (/ (OR|AND) /.test(one) ? `(${one})` : one))
    .join(" AND ");
}

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
  for (const [name, file] of Object.entries(TEXTS))
    copyFileSync(join(project.packaging, "sources/elfutils", file), join(target, `${name}.txt`));
  const text =
    `ztap ${project.version}: Apache-2.0, in /usr/lib/ztap/LICENSE.\n` +
    `The eBPF programs of dist/native/ztap.bpf.o: ${PROGRAMS}.\n\n` +
    relinking(project, machine) +
    `This package contains besides, in files of their own or inside dist/cli and dist/native:\n\n${rows.join("\n")}\n`;
  writeFileSync(join(tree, folder, "copyright"), text);
}

/** What LGPL-3, section 4, asks for: where the library's source is, and how to link the addon with another version of it. */
function relinking(project, machine) {
  const { version } = linkedVersion(project, "elfutils", machine);
  return (
    `libelf of elfutils ${version} is linked into dist/native/ztap.node, unchanged. You may use it under LGPL-3 or later, or GPL-2 or\n` +
    `later: licences/LGPL-3.txt, licences/GPL-3.txt, licences/GPL-2.txt. Its source is Debian's source package elfutils ${version}:\n` +
    `  https://snapshot.debian.org/package/elfutils/${version}/\n` +
    `To link the addon with a version of your own, in a clone of ztap at version ${project.version} on Debian 12: run\n` +
    `\`npm run package\`, put your source in place of .packaging/sources/elfutils, delete .packaging/*/static and .packaging/*/native,\n` +
    `and run \`npm run package\` again.\n\n`
  );
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
