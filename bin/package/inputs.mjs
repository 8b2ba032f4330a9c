/**
 * BUILD-INPUTS: what decides the bytes of the packages besides the commit. Two builds whose BUILD-INPUTS are the same give the same bytes;
 * where the files differ, they say why.
 */
import { createHash } from "node:crypto";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./project.mjs";

/** Debian's packages of the tools that write into what is packed. */
const TOOLS = ["clang", "dpkg", "libbpf-dev", "lld", "llvm", "make", "rpm", "tar", "xz-utils"];

export function writeInputs(project, machines, out) {
  const { packaging, versions, epoch, version, release } = project;
  const sum = (file) =>
    createHash("sha256")
      .update(readFileSync(join(packaging, file)))
      .digest("hex");
  const sources = globSync("sources/*_*", { cwd: packaging }).sort();
  const runtimes = machines.map((machine) => `${machine}/node/node`);
  const sections = {
    build: [`ztap ${version}-${release}`, `SOURCE_DATE_EPOCH ${epoch}`, `Node.js ${process.version} (runs the build)`],
    tools: TOOLS.map((name) => `${name} ${versionOf(name)}`),
    "packages of Debian: name, version, machine": versions
      .filter(({ machine, image }) => machine === "source" || [machine, image?.slice("image-".length)].some(isOne))
      .map(({ name, version, machine, image }) => [name, version, machine, image].filter(Boolean).join(" ")),
    "sources and runtimes, sha256": [...sources, ...runtimes].map((file) => `${sum(file)}  ${file}`),
  };
  function isOne(machine) {
    return machines.includes(machine);
  }
  const text = Object.entries(sections).map(([name, lines]) => `# ${name}\n${lines.join("\n")}\n`);
  writeFileSync(join(out, "BUILD-INPUTS"), text.join("\n"));
}

function versionOf(name) {
  return run("dpkg-query", ["--show", "--showformat", "${Version}", name]).toString();
}
