/** bin/apt brings lists of packages that are missing, as they are for a moment while another part of the set-up brings them. */
import { createHash } from "node:crypto";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";

const skip = spawnSync("apt-get", ["--version"]).status === 0 ? false : "needs apt-get";
/** apt keeps no empty list. */
const PACKAGES = "Package: one\nVersion: 1\nArchitecture: amd64\nFilename: one.deb\n\n";

t.test("the site of a release is found also where its list is missing", { skip }, (t) => {
  const folder = t.testdir({ repository: { dists: { fixes: { main: { "binary-amd64": { Packages: PACKAGES } } } } } });
  const own = join(folder, "apt");
  for (const part of ["lists/partial", "archives/partial", "parts"]) mkdirSync(join(own, part), { recursive: true });
  const release = [
    "Suite: fixes",
    `Date: ${new Date().toUTCString()}`,
    "Codename: fixes",
    "Architectures: amd64",
    "Components: main",
    "SHA256:",
  ];
  const sum = createHash("sha256").update(PACKAGES).digest("hex");
  const dist = join(folder, "repository", "dists", "fixes");
  writeFileSync(
    join(dist, "Release"),
    [...release, ` ${sum} ${PACKAGES.length} main/binary-amd64/Packages`, ""].join("\n"),
  );
  writeFileSync(join(own, "sources.list"), `deb [trusted=yes] file:${join(folder, "repository")} fixes main\n`);
  writeFileSync(join(own, "status"), "");
  const lines = {
    "Dir::State::Lists": join(own, "lists/"),
    "Dir::State::status": join(own, "status"),
    "Dir::Cache": `${own}/`,
    "Dir::Etc::sourcelist": join(own, "sources.list"),
    "Dir::Etc::sourceparts": join(own, "parts"),
    "APT::Architecture": "amd64",
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
  };
  const config = join(own, "apt.conf");
  writeFileSync(
    config,
    Object.entries(lines)
      .map(([name, value]) => `${name} "${value}";\n`)
      .join(""),
  );
  const site = (name: string): string =>
    execFileSync("sh", ["bin/apt", "site", name], {
      encoding: "utf8",
      env: { ...process.env, APT_CONFIG: config },
    }).trim();
  t.equal(site("fixes"), `file:${join(folder, "repository")}`);
  t.equal(site("others"), "", "a release that this machine does not get");
  t.end();
});
