/**
 * The package of npm: the CLI and the library, with an addon for each machine. Its dependencies are inside, as locked, and a
 * npm-shrinkwrap.json says so to npm, which otherwise would choose anew where `overrides` chose.
 */
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { join } from "node:path";
import { closure, copyModules } from "./modules.mjs";
import { MACHINES } from "./project.mjs";
import { writeTar } from "./tarball.mjs";
import { normalise } from "./tree.mjs";

/** What a checkout has beside it, and the package has no use for. */
const EXCLUDED = [
  "bin/package",
  "bin/package.mjs",
  "bin/setup",
  "bin/apt",
  "bin/kernels",
  "bin/roots",
  "bin/build.mjs",
  "bin/external.mjs",
  "native",
  "dist/native",
];

/** @param addons by machine */
export function makeNpm(project, addons, programs, work, out) {
  const { root, manifest } = project;
  const folder = join(work, "npm", "package");
  const listed = manifest.files.filter((path) => !path.startsWith("!") && !EXCLUDED.includes(path));
  for (const path of [...listed, "LICENSE", "README.md", "CHANGELOG.md"])
    cpSync(join(root, path), join(folder, path), {
      recursive: true,
      filter: (source) => !EXCLUDED.some((one) => source === join(root, one)) && !source.endsWith(".map"),
    });
  const native = join(folder, "dist/native");
  mkdirSync(native, { recursive: true });
  copyFileSync(programs, join(native, "ztap.bpf.o"));
  for (const [machine, addon] of Object.entries(addons))
    copyFileSync(addon, join(native, `ztap-${MACHINES[machine].node}.node`));
  const paths = closure(project.lock, Object.keys(manifest.dependencies));
  copyModules(project, folder, paths, true);
  const pinned = Object.fromEntries(
    Object.keys(manifest.dependencies).map((name) => [name, project.lock.packages[`node_modules/${name}`].version]),
  );
  writeJson(join(folder, "package.json"), publishedManifest(manifest, pinned));
  writeJson(join(folder, "npm-shrinkwrap.json"), shrinkwrap(project, pinned, paths));
  normalise(join(work, "npm"), project.epoch, (path) => /^package\/bin\/(ztap|node)$/.test(path));
  const plain = join(work, "npm.tar");
  writeTar(join(work, "npm"), plain, project.epoch, "package");
  const file = join(out, `ztap-${project.version}.tgz`);
  const zipped = gzipSync(readFileSync(plain), { level: project.isQuick ? 1 : 9 });
  zipped[9] = 3;
  writeFileSync(file, zipped);
  return file;
}

function publishedManifest(manifest, dependencies) {
  const { devDependencies, overrides, scripts, config, files, ...published } = manifest;
  void [devDependencies, overrides, scripts, config, files];
  return { ...published, dependencies, bundleDependencies: Object.keys(dependencies) };
}

/** @returns the lock file of the package: of what is inside, and that it is */
export function shrinkwrap({ lock, manifest }, dependencies, paths) {
  const { name, version } = manifest;
  const own = { name, version, license: manifest.license, dependencies, bundleDependencies: Object.keys(dependencies) };
  const packages = Object.fromEntries(
    paths.map((path) => {
      const { dev, optional, peer, devOptional, bin, ...locked } = lock.packages[path];
      void [dev, optional, peer, devOptional, bin];
      return [path, { ...locked, inBundle: true }];
    }),
  );
  return { name, version, lockfileVersion: 3, requires: true, packages: { "": own, ...packages } };
}

function writeJson(file, value) {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}
