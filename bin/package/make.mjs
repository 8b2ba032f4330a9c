/** Makes the packages. Everything is made in a working folder, and takes its place at the end: no file is ever there by half. */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { makeDeb } from "./deb.mjs";
import { writeInputs } from "./inputs.mjs";
import { buildNative, buildPrograms } from "./native.mjs";
import { makeNpm } from "./npm.mjs";
import { makeOci } from "./oci.mjs";
import { fail, readProject } from "./project.mjs";
import { putInPlace, SUMS } from "./place.mjs";
import { makeRpm } from "./rpm.mjs";
import { makeSbom } from "./sbom.mjs";
import { checkPackage, reportTree, say } from "./sizes.mjs";
import { makeSums } from "./sums.mjs";
import { makeTarball } from "./tarball.mjs";
import { layTree } from "./tree.mjs";

const MAKERS = { deb: makeDeb, rpm: makeRpm, tar: makeTarball, oci: makeOci };
/** Forms of which one version can have several revisions. */
const HAS_RELEASE = ["deb", "rpm"];
const WORK = ".work";

/** @param options as bin/package.mjs reads them */
export function makePackages({ machines, forms, out: named, releases, quick, sign }) {
  const key = sign && resolve(sign);
  const root = join(import.meta.dirname, "../..");
  process.chdir(root);
  // What is made is readable for all, under any umask.
  process.umask(0o022);
  const out = resolve(named);
  const work = join(out, WORK);
  // Only what this has made is replaced.
  if (existsSync(out) && readdirSync(out).length > 0 && ![SUMS, WORK].some((name) => existsSync(join(out, name))))
    fail(`${out} has other files`);
  const project = readProject(root, { release: releases[0], isQuick: quick });
  if (!project.hasAll && (machines.includes("arm64") || forms.includes("oci")))
    fail("only what a package for amd64 is made of is there; run `npm run package`");
  const made = join(work, "made");
  rmSync(work, { recursive: true, force: true });
  mkdirSync(made, { recursive: true });
  makeAll(project, { machines, forms, releases, key }, work, made);
  putInPlace(made, out);
  rmSync(work, { recursive: true });
}

function makeAll(project, { machines, forms, releases, key }, work, made) {
  say("building the eBPF programs and the addons");
  const programs = buildPrograms(project);
  const addons = Object.fromEntries(machines.map((machine) => [machine, buildNative(project, machine)]));
  const patience = project.isQuick ? "" : ", which compresses for a minute or more";
  for (const machine of machines) {
    const native = { addon: addons[machine], programs };
    const tree = layTree(project, machine, native, join(work, machine, "tree"));
    reportTree(machine, tree);
    makeSbom(project, machine, made);
    if (forms.includes("oci")) makeSbom(project, machine, made, true);
    for (const form of forms.filter((one) => one !== "npm")) {
      say(`making ${form} for ${machine}${patience}`);
      for (const release of HAS_RELEASE.includes(form) ? releases : releases.slice(0, 1)) {
        const own = join(work, machine, release);
        mkdirSync(own, { recursive: true });
        checkPackage(MAKERS[form]({ ...project, release }, machine, tree, own, made), project);
      }
    }
  }
  if (forms.includes("npm")) {
    say("making npm");
    checkPackage(makeNpm(project, addons, programs, work, made), project);
  }
  writeInputs(project, machines, made);
  makeSums(made, key);
}
