/**
 * Makes the packages of ztap from a built checkout (`npm run package`) into dist/packages/. See bin/package/README.md.
 *
 *     node bin/package.mjs [--arch amd64,arm64] [--only deb,rpm,tar,oci,npm] [--out FOLDER] [--release N,…] [--quick] [--sign KEY]
 *
 * --release N is the packages' revision of one version of ztap, 1 by default; with several, there is a .deb and .rpm of each. --quick compresses little, for tests. --sign names a
 * private SSH key, with which SHA256SUMS is signed.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildNative, buildPrograms } from "./package/native.mjs";
import { makeDeb } from "./package/deb.mjs";
import { writeInputs } from "./package/inputs.mjs";
import { makeNpm } from "./package/npm.mjs";
import { makeOci } from "./package/oci.mjs";
import { makeRpm } from "./package/rpm.mjs";
import { makeSbom } from "./package/sbom.mjs";
import { checkPackage, reportTree } from "./package/sizes.mjs";
import { makeSums } from "./package/sums.mjs";
import { makeTarball } from "./package/tarball.mjs";
import { layTree } from "./package/tree.mjs";
import { fail, readProject } from "./package/project.mjs";

const FORMS = { deb: makeDeb, rpm: makeRpm, tar: makeTarball, oci: makeOci };
/** Forms of which one version can have several revisions. */
const HAS_RELEASE = ["deb", "rpm"];
const ARCHITECTURES = ["amd64", "arm64"];

const { values } = parseArgs({
  options: {
    arch: { type: "string", default: ARCHITECTURES.join() },
    only: { type: "string", default: [...Object.keys(FORMS), "npm"].join() },
    out: { type: "string", default: "dist/packages" },
    release: { type: "string", default: "1" },
    quick: { type: "boolean", default: false },
    sign: { type: "string" },
  },
});
const machines = choose(values.arch, ARCHITECTURES);
const forms = choose(values.only, [...Object.keys(FORMS), "npm"]);
const releases = values.release.split(",");
for (const release of releases) if (!/^[1-9][0-9]*$/.test(release)) fail(`--release ${release} is no number`);
const key = values.sign && resolve(values.sign);

const root = join(import.meta.dirname, "..");
process.chdir(root);
// What is made is readable for all, under any umask.
process.umask(0o022);
const out = resolve(values.out);
const work = join(out, ".work");
// Only what this has made is removed.
if (existsSync(out) && readdirSync(out).length > 0 && ![join(out, "SHA256SUMS"), work].some((path) => existsSync(path)))
  fail(`${out} has other files`);
rmSync(out, { recursive: true, force: true });
mkdirSync(work, { recursive: true });
const project = readProject(root, { release: releases[0], isQuick: values.quick });
if (!project.hasAll && (machines.includes("arm64") || forms.includes("oci")))
  fail("only what a package for amd64 is made of is there; run `npm run package`");

const programs = buildPrograms(project);

const addons = Object.fromEntries(machines.map((machine) => [machine, buildNative(project, machine)]));

for (const machine of machines) {
  const native = { addon: addons[machine], programs };
  const tree = layTree(project, machine, native, join(work, machine, "tree"));
  reportTree(machine, tree);
  makeSbom(project, machine, out);
  if (forms.includes("oci")) makeSbom(project, machine, out, true);
  for (const form of forms.filter((one) => one !== "npm"))
    for (const release of HAS_RELEASE.includes(form) ? releases : releases.slice(0, 1)) {
      const own = join(work, machine, release);
      mkdirSync(own, { recursive: true });
      checkPackage(FORMS[form]({ ...project, release }, machine, tree, own, out), project);
    }
}
if (forms.includes("npm")) checkPackage(makeNpm(project, addons, programs, work, out), project);
writeInputs(project, machines, out);
makeSums(out, key);
rmSync(work, { recursive: true });

function choose(text, all) {
  const chosen = text.split(",");
  const unknown = chosen.find((one) => !all.includes(one));
  if (unknown !== undefined) fail(`${unknown} is none of ${all.join(", ")}`);
  return all.filter((one) => chosen.includes(one));
}
