import tseslint from "typescript-eslint";

const EFFECT_GLOBALS = ["process", "console", "setTimeout", "setInterval", "setImmediate", "fetch"];
const banned = [
  ...EFFECT_GLOBALS.map((name) => ({ name, message: "Effects live in adapters; time and process are injected." })),
  { name: "Date", message: "Time is injected: interfaces/system Clock." },
];

export default tseslint.config(
  {
    ignores: [
      "dist",
      "node_modules",
      ".node",
      ".etcd",
      ".sshd",
      "**/*.generated.*",
      "src/model/generated.ts",
      "src/manifest/schema/validators.generated.ts",
    ],
  },
  ...tseslint.configs.strictTypeChecked.map((config) => ({
    ...config,
    files: ["src/**/*.ts", "test/**/*.ts", "examples/**/*.ts"],
  })),
  {
    files: ["src/**/*.ts", "test/**/*.ts", "examples/**/*.ts"],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/no-confusing-void-expression": "off",
      "@typescript-eslint/no-extraneous-class": "off",
      // There are no enums, and looking for them takes long.
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/use-unknown-in-catch-callback-variable": "error",
      "max-lines-per-function": ["error", { max: 70, skipBlankLines: true, skipComments: true }],
      "max-lines": ["error", { max: 400, skipBlankLines: true, skipComments: true }],
      eqeqeq: "error",
      "no-console": "error",
    },
  },
  {
    files: ["src/**/*.ts"],
    ignores: ["src/adapters/**", "src/cli/**", "src/commands/**", "src/wiring/**"],
    rules: {
      "no-restricted-globals": ["error", ...banned],
      "no-restricted-properties": [
        "error",
        { object: "Math", property: "random", message: "Randomness is injected: interfaces/system Random." },
      ],
    },
  },
  {
    // A time is parsed; no clock is read.
    files: ["src/model/guards.ts"],
    rules: { "no-restricted-globals": ["error", ...banned.filter(({ name }) => name !== "Date")] },
  },
  {
    // Wall-clock values are turned into text where a record is written; no clock is read.
    files: ["src/reconcile/**/*.ts", "src/operations/**/*.ts", "src/store/**/*.ts", "src/plan/rollout/*.ts"],
    rules: {
      "no-restricted-globals": ["error", ...banned.filter(({ name }) => name !== "Date")],
      "no-restricted-syntax": [
        "error",
        {
          selector: "NewExpression[callee.name='Date'][arguments.length=0]",
          message: "Time is injected: interfaces/system Clock.",
        },
        {
          selector: "MemberExpression[object.name='Date'][property.name='now']",
          message: "Time is injected: interfaces/system Clock.",
        },
      ],
    },
  },
  {
    files: ["test/**/*.ts"],
    rules: {
      "@typescript-eslint/no-non-null-assertion": "off",
      "max-lines-per-function": "off",
      "@typescript-eslint/no-floating-promises": "off",
      "@typescript-eslint/unbound-method": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      // Documents that a command printed: what is named in an assertion is what is checked.
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/restrict-plus-operands": "off",
    },
  },
  {
    files: ["test/**/*.{ts,mjs}"],
    // Where a pause or a bound is the subject: of the waits themselves, of silence on a network, of the runner's end.
    ignores: ["test/wait.ts", "test/macos/real.mjs", "test/run.mjs"],
    rules: {
      "no-restricted-globals": ["error", { name: "setTimeout", message: "Tests wait by test/wait.ts." }],
      "no-restricted-imports": [
        "error",
        ...["timers", "timers/promises"].flatMap((name) =>
          [name, `node:${name}`].map((path) => ({ name: path, message: "Tests wait by test/wait.ts." })),
        ),
      ],
    },
  },
);
