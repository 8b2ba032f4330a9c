/** Completion in the shells themselves: on a terminal, with Tab. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync } from "node:fs";
import t, { type Test } from "tap";
import { EmbeddedTable } from "../../src/adapters/embedded/table.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { waitUntil } from "../wait.js";
import { NODES, policy, type Running, Ztap } from "./ztap.js";

interface ShellKind {
  readonly file: string;
  readonly start: string;
  /** Loads the script $COMPLETION, and binds Ctrl-T to show the line and empty it. */
  readonly setUp: readonly string[];
}

const SHELLS: Readonly<Record<string, ShellKind>> = {
  bash: {
    file: "ztap.bash",
    start: "bash --norc --noprofile -i",
    setUp: [
      'source "$COMPLETION"',
      `show() { printf 'LINE<%s>\\n' "$READLINE_LINE"; READLINE_LINE=; }; bind -x '"\\C-t": show'`,
      "bind 'set bell-style none'; bind 'set enable-bracketed-paste off'",
    ],
  },
  zsh: {
    file: "_ztap",
    start: "zsh -f -i",
    setUp: [
      "unsetopt prompt_cr prompt_sp beep; autoload -Uz compinit; compinit -u -D; source $COMPLETION",
      'show() { print -r -- "LINE<$BUFFER>"; BUFFER=; zle -I }; zle -N show; bindkey "^T" show',
    ],
  },
  fish: {
    file: "ztap.fish",
    start: "fish --no-config -i",
    setUp: [
      "set -g fish_autosuggestion_enabled 0; source $COMPLETION",
      `function show; echo "LINE<"(commandline)">"; commandline ""; end; bind \\ct show`,
    ],
  },
};

/** Each begins with another letter. */
const HOSTILE = [
  "a$(touch pwned)",
  "b`touch pwned`",
  "c; touch pwned",
  "d' touch pwned '",
  'e" touch pwned "',
  "f\\$(touch pwned)",
  "g*",
  "h && touch pwned #",
  "i ~/x",
  "j${IFS}k",
];

const isThere = (program: string) => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
const STATE =
  NODES +
  "---\n" +
  policy(80, "alone") +
  "---\n" +
  policy(81, "web-in").replace("name: web-in", "name: web-in, namespace: shop") +
  `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: basket, namespace: shop }\nspec: { addresses: ["10.0.0.9"] }\n`;

/** An interactive shell. */
class Shell {
  constructor(private readonly running: Running) {}

  static async start(ztap: Ztap, { file, start, setUp }: ShellKind, env: Record<string, string> = {}): Promise<Shell> {
    const running = ztap.spawn("script", ["-qefc", `stty cols 200; exec ${start}`, "/dev/null"], {
      env: {
        PATH: `${ztap.root}/bin:${process.env["PATH"] ?? ""}`,
        COMPLETION: `${ztap.root}/dist/completions/${file}`,
        HISTFILE: "",
        ...env,
      },
      isInteractive: true,
    });
    const shell = new Shell(running);
    for (const line of setUp) running.type(line);
    // Of the echo, the two halves stand apart.
    running.type('echo "REA""DY"');
    await running.says("READY");
    return shell;
  }

  /** Types and presses Tab; returns the line that stands there then. */
  async complete(typed: string): Promise<string> {
    const from = this.running.stdout.length;
    this.press(`${typed}\t\u0014`);
    const found = await waitUntil(() => /LINE<([^>]*)>/.exec(this.running.stdout.slice(from))?.[1], {
      what: `the completion of ${typed}`,
    });
    return found;
  }

  press(keys: string): void {
    this.running.child.stdin?.write(keys);
  }
}

const LINES: readonly (readonly [string, string])[] = [
  ["ztap conn", "ztap connectivity "],
  ["ztap policy li", "ztap policy list "],
  ["ztap get wo", "ztap get workloads "],
  ["ztap dif", "ztap diff "],
  ["ztap policy list --no-h", "ztap policy list --no-headers "],
  ["ztap policy list -o w", "ztap policy list -o wide "],
  ["ztap plan --format=m", "ztap plan --format=markdown "],
  ["ztap completion f", "ztap completion fish "],
  ["ztap policy show a", "ztap policy show alone "],
  ["ztap describe policy shop/w", "ztap describe policy shop/web-in "],
  ["ztap policy show -n shop w", "ztap policy show -n shop web-in "],
  ["ztap workload show --json sh", "ztap workload show --json shop/basket "],
  ["ztap cluster leave n", "ztap cluster leave n1 "],
  ["ztap workload list -n s", "ztap workload list -n shop "],
  ["ztap explain --to d --from w", "ztap explain --to d --from web "],
  // The second argument is an address, and a store that is not there has no names.
  ["ztap cluster join n1 n", "ztap cluster join n1 n"],
  ["ztap policy show --store ./none a", "ztap policy show --store ./none a"],
];

// Beside each other: they wait for one key after the other.
t.jobs = 3;
for (const [name, kind] of Object.entries(SHELLS)) {
  const skip = !isThere(name) && `${name} is not installed`;
  t.test(`${name} completes commands, flags, values and names`, { skip, buffered: true }, async (t) => {
    const ztap = await withStore(t);
    const shell = await Shell.start(ztap, kind);
    for (const [typed, completed] of LINES) t.equal(await shell.complete(typed), completed, typed);
  });

  t.test(`${name}: a Tab runs the installed ztap, never a file of the folder`, { skip, buffered: true }, async (t) => {
    const ztap = await withStore(t);
    const pwned = ztap.path("pwned");
    chmodSync(ztap.write("ztap", `#!/bin/sh\ntouch '${pwned}'\n`), 0o755);
    const shell = await Shell.start(ztap, kind);
    t.equal(await shell.complete("./ztap policy show a"), "./ztap policy show alone ");
    const relative = await Shell.start(ztap, kind, { PATH: `.:${process.env["PATH"] ?? ""}` });
    t.equal(await relative.complete("ztap policy show a"), "ztap policy show a");
    t.notOk(existsSync(pwned));
  });

  t.test(`${name}: whatever a name says, nothing is run`, { skip, buffered: true }, async (t) => {
    const ztap = new Ztap(t);
    const names = ztap.write("names", HOSTILE.map((name) => `${name}\n`).join(""));
    const said = ztap.write("said", "");
    // A ztap whose store has these names; called otherwise, it writes down its arguments.
    const fake = ztap.write(
      "fake/ztap",
      `#!/bin/sh\nif [ "$1" = complete ]; then cat '${names}'; else printf '<%s>' "$@" >>'${said}'; echo >>'${said}'; fi\n`,
    );
    chmodSync(fake, 0o755);
    const shell = await Shell.start(ztap, kind, { PATH: `${ztap.path("fake")}:${process.env["PATH"] ?? ""}` });
    for (const [index, hostile] of HOSTILE.entries()) {
      shell.press(`ztap policy show ${hostile.slice(0, 1)}\t\r`);
      const lines = await waitUntil(() => readFileSync(said, "utf8").split("\n"), {
        is: (all) => all.length > index + 1,
        what: `the arguments after ${hostile}`,
      });
      // Where quotes went wrong, the shell waits for their other half.
      if (!t.equal(lines[index], `<policy><show><${hostile}>`, hostile)) return;
      t.notOk(existsSync(ztap.path("pwned")), hostile);
    }
  });
}

async function withStore(t: Test): Promise<Ztap> {
  const ztap = new Ztap(t);
  ztap.write("state/s.yaml", STATE);
  const { code, stderr } = await ztap.run(["apply", "state", "--auto-approve"]);
  t.equal(code, 0, stderr);
  return ztap;
}

t.test("the scripts are valid for their shells, and `ztap completion` prints those of the build", async (t) => {
  const ztap = new Ztap(t);
  for (const [name, { file }] of Object.entries(SHELLS)) {
    const path = `${ztap.root}/dist/completions/${file}`;
    t.match(await ztap.run(["completion", name]), { code: 0, stdout: readFileSync(path, "utf8") });
    if (isThere(name)) t.match(spawnSync(name, ["-n", path], { encoding: "utf8" }), { status: 0, stderr: "" }, name);
  }
  const bash = spawnSync("bash", ["-c", `source ${ztap.root}/dist/completions/ztap.bash; complete -p ztap`]);
  t.equal(bash.stdout.toString(), "complete -F _ztap ztap\n");
});

t.test("names come from the store of the command line, and without one there is silence", async (t) => {
  const ztap = await withStore(t);
  const names = async (...args: readonly string[]) => ztap.run(["complete", ...args]);
  t.match(await names("policies"), { code: 0, stdout: "alone\nshop/web-in\n", stderr: "" });
  t.match(await names("workloads", "--", "workload", "show", "-n", "shop"), { stdout: "basket\n" });
  t.match(await names("namespaces"), { stdout: "default\nshop\n" });
  t.match(await names("nodes"), { stdout: "n1\n" });
  t.match(await names("policies", "--", "policy", "show", "--store", `"file:${ztap.store}"`), { stdout: /alone/ });
  t.match(await names("policies", "--", "policy", "show", "--store", "=", "./none"), { code: 0, stdout: "" });
  for (const args of [
    ["policies", "--", "--store", "etcd://192.0.2.1:2379"],
    ["policies", "--", "--config", "/none.yaml"],
    ["policies", "--", "--store", "$(touch pwned)"],
    ["nothing"],
  ])
    t.match(await names(...args), { code: args[0] === "nothing" ? 0 : 1, stdout: "", stderr: "" }, args.join(" "));
  t.notOk(existsSync(ztap.path("pwned")));
  const table = await EmbeddedTable.open({ path: ztap.store, access: "write" }, systemClock);
  const member = { id: "n\u001b[31m$(touch pwned)", address: "a:1", joinedAt: "2026-01-01T00:00:00.000Z" };
  await table.write((writer) => writer.put(`members/${member.id}`, JSON.stringify(member)));
  await table.close();
  t.match(await names("nodes"), { code: 0, stdout: "n1\n", stderr: "" }, "what is no name is left out");
});
