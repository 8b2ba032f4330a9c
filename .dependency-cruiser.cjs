/** The layer rules: what may import what. Pure stages know no effect; adapters know neither each other nor what is above them. */
const PURE = "^src/(model|diff|manifest|inventory|policy|plan)/";
const EFFECTS =
  "^(fs|fs/promises|net|http|https|child_process|os|process|timers|timers/promises|worker_threads|dgram|tls|readline|readline/promises|cluster)$";

/** Stages of one folder, first to last: a later one may import an earlier one, never the other way. */
const stages = (folder, names) =>
  names.slice(0, -1).map((name, index) => ({
    name: `${folder}-${name}-knows-no-later-stage`,
    severity: "error",
    from: { path: `^src/${folder}/${name}/` },
    to: { path: `^src/${folder}/(${names.slice(index + 1).join("|")})/` },
  }));

module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "pure-stages-import-only-pure-stages",
      severity: "error",
      from: { path: PURE },
      to: { path: "^src/", pathNot: [PURE, "^src/interfaces/(discovery|enforcer|source).ts$"] },
    },
    ...stages("manifest", ["yaml", "schema", "document", "state"]),
    // Address arithmetic and hashing are pure; everything else of Node's is an effect.
    {
      name: "pure-stages-have-no-effects",
      severity: "error",
      from: { path: PURE },
      to: { path: EFFECTS, dependencyTypes: ["core"], pathNot: "^net$" },
    },
    {
      name: "interfaces-know-only-the-model",
      severity: "error",
      from: { path: "^src/interfaces/" },
      to: { path: "^src/", pathNot: "^src/(model|interfaces)/" },
    },
    {
      name: "adapters-know-not-each-other",
      severity: "error",
      from: { path: "^src/adapters/([^/]+)/" },
      to: { path: "^src/adapters/", pathNot: "^src/adapters/($1|system)/" },
    },
    {
      name: "adapters-know-not-what-is-above",
      severity: "error",
      from: { path: "^src/adapters/" },
      to: {
        path: "^src/(reconcile|operations|views|commands|cli|api|wiring|plan|manifest|inventory)",
        // What a pattern matches is decided once, for those who find processes and those who read what was found.
        pathNot: "^src/inventory/(glob|process).ts$",
      },
    },
    {
      name: "reconcile-knows-no-adapter",
      severity: "error",
      from: { path: "^src/(reconcile|operations)/" },
      to: { path: "^src/(adapters|views|commands|cli|wiring)" },
    },
    {
      name: "views-know-only-results",
      severity: "error",
      from: { path: "^src/views/" },
      to: { path: "^src/(adapters|reconcile|commands|cli|wiring|interfaces/(store|enforcer))" },
    },
    {
      name: "commands-know-no-adapter",
      severity: "error",
      from: { path: "^src/(commands|cli)/" },
      to: { path: "^src/adapters/" },
    },
    {
      name: "only-wiring-makes-adapters",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(wiring|adapters/|index)" },
      to: { path: "^src/adapters/" },
    },
    {
      name: "only-the-index-gives-out-the-api",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(api/|index)" },
      to: { path: "^src/api/" },
    },
    {
      name: "etcd3-stays-in-its-adapter",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/adapters/etcd/" },
      to: { path: "node_modules/etcd3" },
    },
    { name: "no-test-code-in-src", severity: "error", from: { path: "^src/" }, to: { path: "^test/" } },
    {
      name: "no-undeclared-packages",
      severity: "error",
      from: { path: "^src/" },
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown", "npm-dev"] },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] },
  },
};
