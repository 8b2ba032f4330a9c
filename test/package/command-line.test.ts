/** `npm run package`: its command line, and what a run that fails leaves. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { ROOT } from "./root.js";

const SCRIPT = join(ROOT, "bin/package.mjs");
const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  spawnSync(process.execPath, [SCRIPT, ...args], { encoding: "utf8", env: { ...process.env, ...env } });

t.test(
  "--help shows the flags and does nothing; a wrong command line says so, before anything is brought",
  async (t) => {
    const manifest: { scripts: { package: string } } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    t.match(manifest.scripts.package, /bin\/package\.mjs --setup$/, "the flags that follow come to the script");
    for (const args of [["--help"], ["-h"], ["--setup", "--help"]])
      t.match(run(args), { status: 0, stdout: /^usage: npm run package[^]*--only LIST/, stderr: "" }, args.join(" "));
    for (const [args, message] of [
      [["--nope"], /--nope/],
      [["deb"], /deb/],
      [["--only", "deb,exe"], /--only: "exe" is none of deb, rpm/],
      [["--arch", "x86"], /--arch: "x86" is none of amd64/],
      [["--release", "0"], /--release 0 is no number/],
    ] as const)
      for (const words of [args, ["--setup", ...args]]) {
        const result = run(words);
        t.match(result, { status: 64, stdout: "", stderr: message }, words.join(" "));
        t.match(result.stderr, /^usage: /m);
      }
  },
);

t.test("a run that fails leaves the packages of an earlier one, and none of its own", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ztap-package-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const out = join(folder, "out");
  mkdirSync(out);
  writeFileSync(join(out, "SHA256SUMS"), "sums\n");
  writeFileSync(join(out, "ztap_0.0.9-1_amd64.deb"), "earlier");
  // Without what packages are made of it fails at once; with it, where the first program is called.
  const bin = join(folder, "bin");
  mkdirSync(bin);
  for (const name of ["clang", "make"]) writeFileSync(join(bin, name), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  const env = { PATH: `${bin}:${process.env["PATH"] ?? ""}` };
  t.match(run(["--quick", "--out", out], env), { status: 1, stderr: /^package: /m });
  t.same(
    readdirSync(out).filter((name) => name !== ".work"),
    ["SHA256SUMS", "ztap_0.0.9-1_amd64.deb"],
  );
  t.equal(readFileSync(join(out, "ztap_0.0.9-1_amd64.deb"), "utf8"), "earlier");
});

t.test("a folder with files of others is left alone", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ztap-package-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "letter.txt"), "dear");
  t.match(run(["--out", folder]), { status: 1, stderr: /has other files/ });
  t.same(readdirSync(folder), ["letter.txt"]);
});

t.test("of a folder with packages, what its sums list is replaced, and nothing else", (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ztap-package-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const write = (path: string, text: string): void => writeFileSync(join(folder, path), text);
  for (const name of ["out", "out/letters", "made"]) mkdirSync(join(folder, name));
  const sum = "0".repeat(64);
  const listed = ["ztap_0.0.9-1_amd64.deb", "..", "../outside", "letters/dear.txt"];
  write("out/SHA256SUMS", listed.map((name) => `${sum}  ${name}\n`).join(""));
  for (const name of ["out/SHA256SUMS.sig", "out/ztap_0.0.9-1_amd64.deb", "out/letter.txt", "out/letters/dear.txt"])
    write(name, "earlier");
  write("outside", "dear");
  for (const name of ["SHA256SUMS", "ztap_0.0.10-1_amd64.deb"]) write(`made/${name}`, "made");
  const place = join(ROOT, "bin/package/place.mjs");
  const script = `import { putInPlace } from ${JSON.stringify(place)}; putInPlace("made", "out");`;
  const done = spawnSync(process.execPath, ["--input-type=module", "-e", script], { cwd: folder, encoding: "utf8" });
  t.equal(done.status, 0, done.stderr);
  t.same(readdirSync(join(folder, "out"), { recursive: true }).sort(), [
    "SHA256SUMS",
    "letter.txt",
    "letters",
    "letters/dear.txt",
    "ztap_0.0.10-1_amd64.deb",
  ]);
  t.equal(readFileSync(join(folder, "out/SHA256SUMS"), "utf8"), "made");
  t.ok(readFileSync(join(folder, "outside")));
  t.end();
});
