/**
 * A saved plan: the desired state that was shown, and the head that it was planned against. It is
 * input like any other: what it holds is validated again when it is read.
 */
import { open, readFile, stat, writeFile } from "node:fs/promises";
import { hasErrors } from "../model/diagnostic.js";
import { canonicalJson, digestOf } from "../model/digest.js";
import type { DesiredState } from "../model/state.js";
import { OperationError } from "../operations/error.js";
import type { Planned } from "../operations/plan.js";
import type { readManifests } from "../manifest/read.js";

const MAGIC = '{"ztapPlan":1,';

export async function savePlan(file: string, { plan, desired }: Planned): Promise<void> {
  const content = {
    base: plan.base,
    source: desired.source,
    objects: [...desired.objects.values()].map(({ object, position }) => ({ object, position })),
  };
  const text = `${MAGIC}"digest":"${digestOf(content)}","content":${canonicalJson(content)}}\n`;
  await writeFile(file, text, { mode: 0o600 }).catch((cause: unknown) => {
    throw new OperationError("plan-damaged", `the plan could not be saved as ${file}`, { cause });
  });
}

/** Whether the path is a file that starts as a saved plan does. */
export async function isPlanFile(path: string): Promise<boolean> {
  const isFile = await stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );
  if (!isFile) return false;
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAGIC.length), 0, MAGIC.length, 0);
    if (buffer.subarray(0, bytesRead).toString() === MAGIC) return true;
  } finally {
    await file.close();
  }
  throw new OperationError("plan-damaged", `${path} is neither a folder nor a saved plan`);
}

export interface SavedPlan {
  readonly base: number | null;
  readonly desired: DesiredState;
}

/** @throws OperationError `plan-damaged` */
export async function loadPlan(file: string, read: typeof readManifests): Promise<SavedPlan> {
  const damaged = (why: string, cause?: unknown) =>
    new OperationError("plan-damaged", `${file} is no usable plan: ${why}; plan again`, { cause });
  const { digest, content } = parsePlan(await readFile(file, "utf8"), damaged);
  if (digestOf(content) !== digest) throw damaged("its content does not match its digest");
  const files = content.objects.map(({ object }, index) => {
    const text = canonicalJson(object);
    return { path: `${file}#${index}`, text, blobId: digestOf(object) };
  });
  const { objects, diagnostics } = read(files);
  if (hasErrors(diagnostics)) throw damaged(diagnostics.map(({ message }) => message).join("; "));
  const positions = new Map(content.objects.map(({ position }, index) => [`${file}#${index}`, position]));
  const placed = [...objects].map(([key, { position, ...object }]) => {
    const known = positions.get(position?.file ?? "");
    return [key, known === undefined ? object : { ...object, position: known }] as const;
  });
  return { base: content.base, desired: { source: content.source, objects: new Map(placed) } };
}

interface PlanContent {
  readonly base: number | null;
  readonly source: DesiredState["source"];
  readonly objects: readonly {
    readonly object: unknown;
    readonly position?: { readonly file: string; readonly line: number };
  }[];
}

/** The digest, which was made from a well-formed content, is what vouches for the shape. */
function parsePlan(
  text: string,
  damaged: (why: string, cause?: unknown) => OperationError,
): { digest: string; content: PlanContent } {
  try {
    return JSON.parse(text) as { digest: string; content: PlanContent };
  } catch (cause) {
    throw damaged("it is not whole", cause);
  }
}
