/** The script of manifest-process.ts: reads files from stdin, and writes what they hold to stdout. */
import { buffer } from "node:stream/consumers";
import { deserialize, serialize } from "node:v8";
import { EXHAUSTED } from "../adapters/system/bounded-process.js";
import type { ManifestFile } from "../manifest/read.js";
import { readBoundedManifests } from "./manifests.js";

try {
  const files = deserialize(await buffer(process.stdin)) as readonly ManifestFile[];
  process.stdout.write(serialize(readBoundedManifests(files)));
} catch (error) {
  // V8's word for a text, a list or a stack that became too large.
  if (!(error instanceof RangeError)) throw error;
  process.exitCode = EXHAUSTED;
}
