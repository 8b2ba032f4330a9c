/** Which processes count as SSH sessions: those of root's servers, by their user and program; and how long that is searched. */
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import { systemClock } from "../../src/adapters/system/clock.js";
import { ProcManagementAccess } from "../../src/adapters/system/management-access.js";
import type { Session } from "../../src/model/management-access.js";
import { freePorts } from "../etcd/server.js";
import { SshServer, USER, whyNoSshd } from "../kernel/ssh.js";
import { HANG_MS, within } from "../wait.js";

if (process.platform !== "linux" || process.getuid?.() !== 0) t.plan(0, "SKIP needs root on Linux");
else {
  const NOBODY = 65_534;
  /** Of each architecture: prctl(2), clone(2). */
  const CALLS: Partial<Record<NodeJS.Architecture, readonly [number, number]>> = { x64: [157, 56], arm64: [167, 220] };
  const [prctl, clone] = CALLS[process.arch] ?? [0, 0];

  const folder = mkdtempSync(join(tmpdir(), `ztap-sshd-${process.pid}-`));
  chmodSync(folder, 0o755);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  /** A program of root that any user can run, as the real one. */
  const sshd = join(folder, "sshd");
  copyFileSync(realpathSync("/usr/bin/perl"), sshd);
  chmodSync(sshd, 0o755);

  const [port = 0, sshPort = 0, activatedPort = 0] = await freePorts(3);
  const sessionsAt = async (
    at: number,
    reader = new ProcManagementAccess([], systemClock),
  ): Promise<readonly Session[]> => (await reader.sessions()).items.filter((session) => session.port === at);

  /** Runs a script of perl until the test ends; resolves when it has printed something. */
  const run = async (t: Test, program: string, script: string, ...args: readonly string[]): Promise<void> => {
    const child = spawn(program, ["-e", script, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    t.teardown(() => end(child));
    await within(new Promise((resolve) => child.stdout.once("data", resolve)), { what: program, timeoutMs: HANG_MS });
  };
  /** Listens, and connects to itself. Arguments: address, user, title, and `hidden` if nobody may look at the process. */
  const SERVE = `
    use Socket; use POSIX;
    ($address, $user, $title, $hidden) = @ARGV;
    $| = 1;
    socket(L, PF_INET, SOCK_STREAM, 0) && setsockopt(L, SOL_SOCKET, SO_REUSEADDR, 1) or die;
    POSIX::setuid($user) or die;
    syscall(${prctl}, 4, 0, 0, 0, 0) if $hidden;
    bind(L, pack_sockaddr_in(${port}, inet_aton($address))) && listen(L, 8) or die;
    socket(C, PF_INET, SOCK_STREAM, 0) && connect(C, getsockname(L)) && accept(S, L) or die;
    $0 = $title;
    print "ready";
    <STDIN>;`;
  /** Accepts a connection as root, and serves it in a child that has another user, as OpenSSH does. */
  const WATCH = `
    use Socket; use POSIX;
    ($address, $user) = @ARGV;
    socket(L, PF_INET, SOCK_STREAM, 0) && setsockopt(L, SOL_SOCKET, SO_REUSEADDR, 1) or die;
    bind(L, pack_sockaddr_in(${port}, inet_aton($address))) && listen(L, 8) or die;
    socket(C, PF_INET, SOCK_STREAM, 0) && connect(C, getsockname(L)) && accept(S, L) or die;
    pipe(READER, WRITER);
    if (fork() == 0) {
      close(WRITER);
      POSIX::setuid($user) or die;
      $0 = 'sshd: me@pts/0';
      $| = 1;
      print "ready";
      <READER>;
      POSIX::_exit(0);
    }
    close(READER);
    $0 = 'sshd: me [priv]';
    <STDIN>;`;

  await t.test("root's server counts, and a child of it that serves another user", async (t) => {
    await t.test("root's own", async (t) => {
      await run(t, sshd, SERVE, "127.0.0.1", "0", "sshd: root@pts/0");
      t.match(await sessionsAt(port), [{ peer: "127.0.0.1", port }]);
    });
    await t.test("a child", async (t) => {
      await run(t, sshd, WATCH, "127.0.0.1", String(NOBODY));
      t.match(await sessionsAt(port), [{ peer: "127.0.0.1", port }]);
    });
    await t.test("before the login", async (t) => {
      await run(t, sshd, SERVE, "127.0.0.1", "0", "sshd: root [priv]");
      t.same(await sessionsAt(port), []);
    });
    await t.test("another program of that title", async (t) => {
      await run(t, "perl", SERVE, "127.0.0.1", "0", "sshd: root@pts/0");
      t.same(await sessionsAt(port), []);
    });
  });

  await t.test("a user's own sshd at another address of root's port does not count", async (t) => {
    await run(t, sshd, SERVE, "127.0.0.1", "0", "sshd: root@pts/0");
    for (const hidden of ["", "hidden"])
      await t.test(hidden || "visible", async (t) => {
        await run(t, sshd, SERVE, "127.0.0.2", String(NOBODY), "sshd: me@pts/0", hidden);
        t.match(await sessionsAt(port), [{ peer: "127.0.0.1" }]);
        t.equal((await sessionsAt(port)).length, 1, "root's alone");
      });
    await t.test("with a child of its own", async (t) => {
      await run(
        t,
        sshd,
        `use POSIX; POSIX::setuid(shift @ARGV) or die; $script = pop @ARGV; eval $script; die $@ if $@`,
        String(NOBODY),
        "127.0.0.2",
        String(NOBODY),
        WATCH,
      );
      t.equal((await sessionsAt(port)).length, 1, "root's alone");
    });
  });

  /** Each look at it takes that long, so that a search has a known number of steps. */
  const steps = { ms: 0.1, now: 0 };
  const steppedClock = { ...systemClock, monotonic: () => (steps.now += steps.ms) };

  const OTHER = 64_712;
  /** A hundred processes of a user share a table of 900 files. */
  const SHARE = `
      use POSIX; $| = 1;
      for (1 .. 900) { open($files[$_], "<", "/dev/null") or die }
      POSIX::setuid(${OTHER}) or die;
      for (1 .. 100) {
        $pid = syscall(${clone}, 0x400 | 17, 0, 0, 0, 0);
        if ($pid == 0) { POSIX::pause() while 1 }
        push @children, $pid;
      }
      print "ready";
      <STDIN>;
      kill "KILL", @children;`;

  await t.test("tables of open files that users share are not read", async (t) => {
    await run(t, sshd, SERVE, "127.0.0.1", "0", "sshd: root@pts/0");
    await run(t, "perl", SHARE);
    const reader = new ProcManagementAccess([{ role: "store", host: "127.0.0.1", port }], steppedClock);
    t.match(await reader.sessions(), { isComplete: true });
    t.match(await reader.servers(), { isComplete: true, items: [{ role: "store", port }] });
    t.match(await sessionsAt(port, reader), [{ port }]);

    await t.test("after a search that was cut short, the sessions of the one before count", async (t) => {
      steps.ms = 1_000;
      const short = await reader.sessions();
      t.match(short, { isComplete: false });
      t.match(
        short.items.filter((session) => session.port === port),
        [{ peer: "127.0.0.1" }],
      );
      t.match(await reader.servers(), { isComplete: false, items: [] });
      steps.ms = 0.1;
    });
  });

  await t.test(
    "they delay only themselves where all users are searched: the socket's maker has no process",
    async (t) => {
      await run(t, "perl", SHARE);
      const handOver = SERVE.replace(/POSIX::setuid.*\n/, "").replace("$0 = $title;", "POSIX::setuid($user) or die;");
      await run(t, "perl", handOver, "127.0.0.1", String(NOBODY), "");
      const reader = new ProcManagementAccess([{ role: "store", host: "127.0.0.1", port }], steppedClock);
      t.match(await reader.servers(), { isComplete: false, items: [{ role: "store", port }] });
    },
  );

  await t.test("a session that has ended is forgotten, also by a search that was cut short", async (t) => {
    /** Time passes at the third look: only the search for processes is cut short. */
    let looks = Number.NEGATIVE_INFINITY;
    const clock = { ...systemClock, monotonic: () => ((looks += 1) < 3 ? 0 : 10_000) };
    const reader = new ProcManagementAccess([], clock);
    await t.test("while it lasts", async (t) => {
      await run(t, sshd, SERVE, "127.0.0.1", "0", "sshd: root@pts/0");
      t.equal((await sessionsAt(port, reader)).length, 1);
    });
    looks = 0;
    const { items, isComplete } = await reader.sessions();
    t.equal(isComplete, false);
    t.same(
      items.filter((session) => session.port === port),
      [],
    );
  });

  const missing = whyNoSshd();
  await t.test("with a real sshd", { skip: missing ?? false }, async (t) => {
    const address = "127.0.0.1";
    for (const [what, place] of [
      ["that listens itself", { address, port: sshPort }],
      ["that another program starts for each connection", { address, port: activatedPort, activated: true }],
    ] as const)
      await t.test(what, async (t) => {
        const server = new SshServer(t, place);
        await server.ready();
        const loggedIn = [];
        for (const user of ["root", USER]) {
          const session = server.login(undefined, user);
          await session.answers(`${user} `);
          loggedIn.push(session);
          t.match(
            await sessionsAt(place.port),
            loggedIn.map(() => ({ peer: address, port: place.port })),
          );
          t.equal((await sessionsAt(place.port)).length, loggedIn.length);
        }
        await server.stopListening();
        for (const session of loggedIn) await session.answers("after that");
        t.equal((await sessionsAt(place.port)).length, 2, "nothing listens any more");
      });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("close", resolve));
  child.stdin?.end();
  await gone;
}
