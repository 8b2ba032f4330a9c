/** Maps words that users know from terraform, kubectl, flux and git to ztap's commands. */

/** By the word alone. A meaning that ends with a full stop is a sentence; any other is a command. */
const WORDS: Readonly<Record<string, string>> = {
  ...all("plan", "preview", "changes", "dry-run"),
  ...all("apply", "up", "deploy", "commit", "push"),
  ...all("validate", "check", "lint", "verify", "fmt"),
  ...all("explain", "trace", "can-i", "why", "auth"),
  ...all("connectivity", "reach", "matrix"),
  ...all("flows", "observe", "hubble", "monitor", "events", "top", "tcpdump"),
  ...all("agent", "run", "start", "daemon", "serve", "server"),
  ...all("init", "new", "bootstrap", "scaffold"),
  ...all("graph", "draw", "dot", "tree"),
  ...all("doctor", "preflight"),
  ...all("version", "info", "about"),
  ...all("logs", "tail", "journal"),
  ...all("policy list", "ls", "list", "policies", "netpol"),
  ...all("workload list", "workloads", "pods", "instances", "services", "ps"),
  ...all("policy show", "show", "drift", "refresh"),
  ...all("policy history", "log", "revisions", "rollout"),
  ...all("policy rollback", "rollback", "revert", "undo"),
  ...all("cluster status", "status", "leader", "health", "cluster-info"),
  ...all("cluster list", "nodes", "members", "hosts"),
  ...all("cluster suspend", "pause", "cordon"),
  ...all("cluster resume", "unpause", "uncordon", "reconcile"),
  ...all("enforcement remove", "uninstall", "unload", "flush", "destroy"),
  ...all(
    "to delete an object, remove it from the repository and run `ztap apply` (or wait for the leader's poll); `ztap enforcement remove` removes enforcement from this machine.",
    "delete",
    "del",
    "rm",
    "remove",
  ),
  ...all("completion", "autocomplete", "completions"),
  ...all("config show", "settings", "env"),
  ...all("settings are flags, variables and configuration files; docs/cli.md lists them.", "set", "login", "context"),
};

/** By topic and word. */
const TOPICS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  get: {
    ...all("get workloads", "pods", "pod", "po", "instances", "services", "svc"),
    ...all("get policies", "pol", "cnp", "ciliumnetworkpolicies", "rules"),
    ...all("get nodes", "hosts", "agents"),
    ...all("get revisions", "versions", "history"),
  },
  describe: {
    ...all("describe workload", "pod", "po", "instance"),
    ...all("describe policy", "policies", "networkpolicies", "cnp"),
    ...all("cluster list", "node", "nodes", "no"),
  },
  policy: {
    ...all("policy list", "get", "ls"),
    ...all("workload list", "workloads", "pods", "instances", "services", "ps"),
    ...all("policy show", "describe", "status", "diff", "drift"),
    ...all("policy history", "log", "logs", "versions", "revisions"),
    ...all("policy rollback", "revert", "undo"),
    ...all("policy sync", "apply", "create", "update", "set", "edit", "replace"),
    ...all(
      "to delete a policy, remove it from the repository and run `ztap apply` (or wait for the leader's poll).",
      "delete",
      "del",
      "rm",
      "remove",
    ),
  },
  workload: {
    ...all("workload list", "get", "ls", "instances"),
    ...all("workload show", "describe", "status", "info"),
  },
  cluster: {
    ...all("cluster list", "get", "ls", "nodes", "members"),
    ...all("cluster status", "show", "describe", "health", "leader", "info"),
    ...all("cluster join", "add", "create", "register"),
    ...all("cluster leave", "delete", "del", "rm", "remove", "forget"),
    ...all("cluster suspend", "pause", "stop"),
    ...all("cluster resume", "unpause", "start", "reconcile"),
    ...all("cluster approve", "confirm", "accept"),
  },
  config: all("config show", "get", "ls", "list", "view", "describe"),
  enforcement: {
    ...all("enforcement show", "get", "ls", "list", "status", "describe"),
    ...all("enforcement remove", "delete", "del", "rm", "flush", "unload", "stop", "disable"),
    ...all("enforcement render", "print", "dump", "compile", "preview"),
    ...all("enforcement setup", "install", "init", "enable"),
  },
};

function all(meaning: string, ...words: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(words.map((word) => [word, meaning]));
}

/** Returns ztap's equivalent of these words, as the end of a sentence; undefined for unfamiliar words. */
export function answerFamiliar([first = "", second]: readonly string[]): string | undefined {
  const topic = Object.hasOwn(TOPICS, first) ? TOPICS[first] : undefined;
  const [table, word] = topic === undefined ? [WORDS, first] : [topic, second ?? ""];
  const meaning = Object.hasOwn(table, word) ? table[word] : undefined;
  if (meaning === undefined) return undefined;
  return meaning.endsWith(".") ? meaning.slice(0, -1) : `did you mean \`ztap ${meaning}\`?`;
}
