/** Wiring of `ztap init`: copies the starter repository from this installation. */
import { join } from "node:path";
import type { Scaffolded } from "../adapters/git/scaffold.js";

/** Copies the starter repository. */
export async function scaffoldRepository(root: string, dir: string): Promise<Scaffolded> {
  const { scaffold } = await import("../adapters/git/scaffold.js");
  return scaffold(
    [
      { from: join(root, "examples/starter"), to: "" },
      // The action that its workflow uses, in this version, so that nothing is fetched by name.
      { from: join(root, ".github/actions/plan"), to: ".github/actions/ztap-plan" },
      // The schemas of this version for editors, usable without a network.
      { from: join(root, "schemas"), to: ".ztap/schemas", only: /^[^/]+\.schema\.json$/ },
    ],
    dir,
  );
}
