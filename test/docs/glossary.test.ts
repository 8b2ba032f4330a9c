/** The glossary holds: no old word in a name, and no exported name with two meanings. */
import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import t from "tap";
import ts from "typescript";

type Scope = "names" | "exports" | "native" | "docs";

interface Banned {
  /** Words in lower case, in their order: `tryClaim` is `["try", "claim"]`. */
  readonly words: readonly string[];
  readonly scope: Scope;
}

interface Name {
  readonly text: string;
  readonly file: string;
  readonly isExport: boolean;
}

const sources = globSync(["src/**/*.ts", "test/**/*.ts", "examples/**/*.ts"]).filter(
  (file) => !file.includes("generated"),
);
const names = sources.flatMap(namesOf);
const banned = readGlossary(readFileSync("docs/glossary.md", "utf8"));

t.test("the glossary lists old words for each scope", async (t) => {
  for (const scope of ["names", "exports", "native", "docs"] as const)
    t.ok(
      banned.some((one) => one.scope === scope),
      scope,
    );
});

t.test("no old word in a name", async (t) => {
  t.same(findNames(names, "names"), []);
  t.same(
    findNames(
      names.filter(({ isExport }) => isExport),
      "exports",
    ),
    [],
  );
  const files = sources.map((file) => ({ text: basename(file, ".ts"), file, isExport: false }));
  t.same(findNames(files, "names"), [], "names of files");
});

t.test("no old word in a name of the native part", async (t) => {
  const native = globSync(["native/bpf/*.{h,c}", "native/include/*.h", "native/addon/*.{cc,h}"]).flatMap((file) =>
    (codeOf(file).match(/[A-Za-z_]\w*/g) ?? []).map((text) => ({ text, file, isExport: false })),
  );
  t.same(findNames(native, "native"), []);
});

t.test("no old word in the documents", async (t) => {
  const found = globSync(["docs/**/*.md", "README.md", "CONTRIBUTING.md", "SECURITY.md"])
    .filter((file) => file !== "docs/glossary.md")
    .flatMap((file) => {
      const text = readFileSync(file, "utf8");
      return banned
        .filter(({ scope, words }) => scope === "docs" && new RegExp(`\\b${words.join("[ -]?")}\\b`, "i").test(text))
        .map(({ words }) => `${file}: ${words.join(" ")}`);
    });
  t.same(found, []);
});

t.test("one exported name has one meaning", async (t) => {
  const exported = names.filter(({ isExport, file }) => isExport && file.startsWith("src/"));
  const twice = [...Map.groupBy(exported, ({ text }) => text)].flatMap(([text, places]) => {
    const files = [...new Set(places.map(({ file }) => file))];
    return files.length > 1 ? [`${text}: ${files.join(", ")}`] : [];
  });
  t.same(twice, []);
});

/** Rows whose last cell holds words and, in brackets, where they must not stand: `bell, ears (names)`. */
function readGlossary(text: string): readonly Banned[] {
  return [...text.matchAll(/^\|.*\| ([^|]+) \(([a-z, ]+)\) \|$/gm)].flatMap(([, words = "", scopes = ""]) =>
    words
      .split(", ")
      .flatMap((word) => scopes.split(", ").map((scope) => ({ words: split(word), scope: toScope(scope) }))),
  );
}

/** C or C++ without its comments. */
const codeOf = (file: string): string => readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");

function toScope(text: string): Scope {
  if (text === "names" || text === "exports" || text === "native" || text === "docs") return text;
  throw new TypeError(`docs/glossary.md: ${text} is no place that names stand in`);
}

function findNames(candidates: readonly Name[], scope: Scope): readonly string[] {
  const wanted = banned.filter((one) => one.scope === scope);
  const found = candidates.flatMap(({ text, file }) => {
    const parts = ` ${split(text).join(" ")} `;
    return wanted.some(({ words }) => parts.includes(` ${words.join(" ")} `)) ? [`${file}: ${text}`] : [];
  });
  return [...new Set(found)].sort();
}

/** `tryClaim`, `try_claim`, `TRY_CLAIM`, `try-claim` → try, claim. */
function split(name: string): readonly string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .split(/[\s_#-]+/)
    .filter((part) => part !== "")
    .map((part) => part.toLowerCase());
}

/** What a file declares, without fields of types: these are JSON's and the store's, whose names stay. */
function namesOf(file: string): readonly Name[] {
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true);
  const found: Name[] = [];
  const visit = (node: ts.Node): void => {
    if (isNaming(node)) found.push({ text: node.name.text, file, isExport: isExported(node) });
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function isNaming(
  node: ts.Node,
): node is ts.NamedDeclaration & { readonly name: ts.Identifier | ts.PrivateIdentifier } {
  const isDeclaration =
    ts.isClassDeclaration(node) ||
    ts.isFunctionDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isVariableDeclaration(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isParameter(node);
  if (!isDeclaration || node.name === undefined) return false;
  return ts.isIdentifier(node.name) || ts.isPrivateIdentifier(node.name);
}

function isExported(node: ts.Node): boolean {
  const statement = ts.isVariableDeclaration(node) ? node.parent.parent : node;
  if (!ts.isSourceFile(statement.parent)) return false;
  const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
  return modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false;
}
