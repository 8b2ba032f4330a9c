import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer as createHttps } from "node:https";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import { GitSource } from "../../src/adapters/git/source.js";
import { inFolder, Repository } from "../fakes/repository.js";

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

void t.test("a location or ref that git would take for an option or a helper is refused before git runs", async (t) => {
  for (const location of [
    "",
    "-x",
    "--upload-pack=touch /tmp/x",
    "ext::sh -c true",
    "http://example.org/x",
    "git://example.org/x",
    "ftp://example.org/x",
    "ssh://-oProxyCommand=x/y",
    "-oProxyCommand=x:y",
    "git@-oProxy:y",
    "a\nb",
    "file://host/x",
  ]) {
    t.throws(() => new GitSource({ location, cacheDir: "/nonexistent" }), { code: "source-not-found" }, location);
  }
  for (const ref of ["", "-x", "--all", "a..b", "a b", "a:b", "a^", "a~1", "a@{1}", "x*", "refs/heads/", "a\n"]) {
    t.throws(() => new GitSource({ location: "/repo", cacheDir: "/nonexistent", ref }), { code: "ref-not-found" }, ref);
  }
});

void t.test("fetching from a silent remote times out, and git's process ends", (t) =>
  inFolder(async (folder) => {
    const sockets = new Set<Socket>();
    const closed: Promise<void>[] = [];
    const server = createServer((socket) => {
      sockets.add(socket);
      closed.push(new Promise((resolve) => socket.once("close", () => resolve())));
      socket.on("error", () => undefined).resume();
    });
    const port = await listen(server);
    try {
      const source = new GitSource({
        location: `https://127.0.0.1:${port}/x.git`,
        cacheDir: join(folder, "cache"),
        silenceMs: 300,
      });
      await t.rejects(source.readTip(), { code: "source-unreachable" });
      await Promise.all(closed);
      t.ok(closed.length > 0, "it was reached, and whoever reached it hung up");
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  }),
);

void t.test("credentials reach only the remote", (t) =>
  inFolder(async (folder) => {
    const repo = new Repository(join(folder, "repo"));
    repo.write("web.yaml", "web: 1\n");
    const commit = repo.commit();
    repo.git("update-server-info");
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const request = [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-days",
      "2",
      "-subj",
      "/CN=localhost",
      "-addext",
      "subjectAltName=DNS:localhost",
    ];
    execFileSync("openssl", [...request, "-keyout", key, "-out", cert], { stdio: "ignore" });
    const wanted = `Basic ${Buffer.from("robot:s3cr3t/p@ss").toString("base64")}`;
    // The repository's files are all that git's simple protocol needs.
    const server = createHttps({ key: readFileSync(key), cert: readFileSync(cert) }, (incoming, answer) => {
      const file = join(
        repo.path,
        ".git",
        new URL(incoming.url ?? "/", "https://localhost").pathname.replace("/x.git/", ""),
      );
      if (incoming.headers.authorization !== wanted)
        answer.writeHead(401, { "WWW-Authenticate": 'Basic realm="x"' }).end();
      else if (!existsSync(file)) answer.writeHead(404).end();
      else answer.end(readFileSync(file));
    });
    const port = await listen(server);
    process.env["GIT_SSL_CAINFO"] = cert;
    try {
      const cacheDir = join(folder, "cache");
      const good = new GitSource({ location: `https://robot:s3cr3t%2Fp%40ss@localhost:${port}/x.git`, cacheDir });
      t.equal(good.location, `https://***@localhost:${port}/x.git`);
      const snapshot = await good.fetch();
      t.equal(snapshot.source.commit, commit);
      t.notMatch(JSON.stringify(snapshot), /s3cr3t|robot/);
      const bad = new GitSource({ location: `https://robot:wr0ng@localhost:${port}/x.git`, cacheDir });
      const error: unknown = await bad.readTip().catch((error: unknown) => error);
      t.match(error, { code: "source-denied" });
      const shown =
        error instanceof Error
          ? `${error.message} ${String(error.stack)} ${JSON.stringify(error)} ${String(error.cause)}`
          : "";
      t.notMatch(shown, /wr0ng|robot/);
      t.equal((await good.fetch()).source.commit, commit, "a refusal of another password does not spoil this one");
      const mirror = readdirSync(cacheDir).find((name) => name.endsWith(".git")) ?? "";
      t.notMatch(readFileSync(join(cacheDir, mirror, "config"), "utf8"), /s3cr3t/);
    } finally {
      delete process.env["GIT_SSL_CAINFO"];
      server.closeAllConnections();
      server.close();
    }
  }),
);
