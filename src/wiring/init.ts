/** Wiring of `ztap init`: the starter repository, copied from this installation. */
import { join } from "node:path";
import type { Scaffolded } from "../adapters/git/scaffold.js";

/** `ztap init`: copies the starter repository. */
export async function scaffoldRepository(root: string, dir: string): Promise<Scaffolded> {
  const { scaffold } = await import("../adapters/git/scaffold.js");
  return scaffold(
    [
      { from: join(root, "examples/starter"), to: "" },
      // What its workflow uses: the action of this very version, and nothing fetched by name.
      { from: join(root, ".github/actions/plan"), to: ".github/actions/ztap-plan" },
      // For editors: the schemas of this very version, without a network.
      { from: join(root, "schemas"), to: ".ztap/schemas", only: /^[^/]+\.schema\.json$/ },
    ],
    dir,
  );
}
