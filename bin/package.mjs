/**
 * `npm run package`: makes the packages of ztap. Reads the command line, brings what packages are made of, and calls
 * bin/package/make.mjs. Imports nothing of it before: the machine's own Node.js, which reads the command line, may be an old one.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const FORMS = ["deb", "rpm", "tar", "oci", "npm"];
const MACHINES = ["amd64", "arm64"];

const USAGE = `usage: npm run package -- [FLAG...]

Makes the packages of ztap into dist/packages/, in some minutes; see bin/package/README.md.

  --arch LIST    machines (default: ${MACHINES.join(",")})
  --only LIST    forms (default: ${FORMS.join(",")})
  --out FOLDER   where the packages go (default: dist/packages); former packages there are replaced
  --release LIST the packages' revisions of one version of ztap (default: 1); with several, there is a deb and an rpm of each
  --quick        compress little, for tests
  --sign KEY     sign SHA256SUMS with a private SSH key
  -h, --help     show this

Exit codes: 0 made, 1 failed, 64 wrong command line.
`;
const WRONG = 64;

const options = readOptions();
if (options.help) process.stdout.write(USAGE);
else if (options.setup) setUpAndRun();
else (await import("./package/make.mjs")).makePackages(options);

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        arch: { type: "string", default: MACHINES.join() },
        only: { type: "string", default: FORMS.join() },
        out: { type: "string", default: "dist/packages" },
        release: { type: "string", default: "1" },
        quick: { type: "boolean", default: false },
        sign: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
        // Of `npm run package`: bring what is missing first.
        setup: { type: "boolean", default: false },
      },
    });
    const releases = values.release.split(",");
    for (const one of releases) if (!/^[1-9][0-9]*$/.test(one)) throw new Error(`--release ${one} is no number`);
    return {
      ...values,
      releases,
      machines: choose("--arch", values.arch, MACHINES),
      forms: choose("--only", values.only, FORMS),
    };
  } catch (error) {
    process.stderr.write(`package: ${error.message}\n\n${USAGE}`);
    return process.exit(WRONG);
  }
}

function choose(flag, text, all) {
  const chosen = text.split(",");
  const unknown = chosen.find((one) => !all.includes(one));
  if (unknown !== undefined) throw new Error(`${flag}: ${JSON.stringify(unknown)} is none of ${all.join(", ")}`);
  return all.filter((one) => chosen.includes(one));
}

/** Brings what packages are made of, which may be another Node.js, and begins again with it. */
function setUpAndRun() {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const rest = process.argv.slice(2).filter((word) => word !== "--setup");
  const run = (...words) => spawnSync("sh", words, { stdio: "inherit" }).status ?? 1;
  process.exitCode =
    run(join(root, "bin/setup"), "package") || run(join(root, "bin/node"), join(root, "bin/package.mjs"), ...rest);
}
