/**
 * A saved plan: the desired state that was shown, and the head that it was planned against. It is input like any other:
 * its content is validated again when it is read.
 */
import { open, readFile, stat, writeFile } from "node:fs/promises";
import { hasErrors } from "../model/diagnostic.js";
import { canonicalJson, digestOf } from "../model/digest.js";
import type { DesiredState, SourceRef } from "../model/state.js";
import { withReason } from "../model/system-error.js";
import type { Guard } from "../model/guards.js";
import { isDigest, isPositive, listOf, nullable, optional, shaped } from "../model/guards.js";
import { isPosition, isSourceRef } from "../store/records.js";
import { OperationError } from "../model/operation-error.js";
import type { Planned } from "../operations/change/plan.js";
import type { KeptObject } from "../operations/change/revalidate.js";
import { rereadObjects } from "../operations/change/revalidate.js";
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
    throw new OperationError("plan-damaged", withReason(`the plan cannot be saved as ${file}`, cause), { cause });
  });
}

/**
 * Returns whether the path is a saved plan: false for a folder, a URL and a missing file.
 * @throws OperationError for any other file
 */
export async function isPlanFile(path: string): Promise<boolean> {
  const starts = await startsAsPlan(path);
  if (starts !== false) return starts === true;
  throw new OperationError(
    "plan-damaged",
    `${path} is neither a folder nor a saved plan; name the folder that it is in, or make a plan with ztap plan --out`,
  );
}

/**
 * Refuses a saved plan, for commands that read a state.
 * @throws OperationError `usage`
 */
export async function refusePlanFile(path: string): Promise<void> {
  if ((await startsAsPlan(path)) === true)
    throw new OperationError("usage", `${path} is a saved plan; use \`ztap apply ${path}\` to show and commit it`);
}

/** Returns null if the path is not a file. */
async function startsAsPlan(path: string): Promise<boolean | null> {
  const isFile = await stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );
  if (!isFile) return null;
  const file = await open(path).catch((cause: unknown) => {
    throw new OperationError("plan-damaged", withReason(`${path} cannot be read`, cause), { cause });
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAGIC.length), 0, MAGIC.length, 0);
    return buffer.subarray(0, bytesRead).toString() === MAGIC;
  } finally {
    await file.close();
  }
}

export interface SavedPlan {
  readonly base: number | null;
  readonly desired: DesiredState;
}

/**
 * Reads a saved plan.
 * @throws OperationError `plan-damaged`
 */
export async function loadPlan(file: string, read: typeof readManifests): Promise<SavedPlan> {
  const damaged = (why: string) =>
    new OperationError("plan-damaged", `${file} is not a usable plan: ${why}; plan again`);
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new OperationError("plan-damaged", withReason(`${file} cannot be read`, cause), { cause });
  });
  const { digest, content } = parsePlan(text, damaged);
  if (digestOf(content) !== digest) throw damaged("its content does not match its digest");
  const { objects, diagnostics } = rereadObjects(content.objects, read, file);
  if (hasErrors(diagnostics)) throw damaged(diagnostics.map(({ message }) => message).join("; "));
  return { base: content.base, desired: { source: content.source, objects } };
}

interface PlanContent {
  readonly base: number | null;
  readonly source: SourceRef;
  readonly objects: readonly KeptObject[];
}

const isObject: Guard<object> = (value): value is object => typeof value === "object" && value !== null;
const isPlan = shaped<{ digest: string; content: PlanContent }>({
  digest: isDigest,
  content: shaped<PlanContent>({
    base: nullable(isPositive),
    source: isSourceRef,
    objects: listOf(shaped<KeptObject>({ object: isObject, position: optional(isPosition) })),
  }),
});

/** The digest detects accidents; the shape must be checked as well, since anyone can compute a digest. */
function parsePlan(
  text: string,
  damaged: (why: string) => OperationError,
): { readonly digest: string; readonly content: PlanContent } {
  const parsed = parseJson(text, damaged);
  if (!isPlan(parsed)) throw damaged("it does not have the shape of a plan");
  return parsed;
}

function parseJson(text: string, damaged: (why: string) => OperationError): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw damaged("it is incomplete");
  }
}
