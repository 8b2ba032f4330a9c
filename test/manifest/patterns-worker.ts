/** The thread of patterns.test.ts: answers a pattern with the text that it takes too long for, or null. */
import { parentPort } from "node:worker_threads";
import { findGrowth, type Pattern } from "./patterns.js";

parentPort?.on("message", (pattern: Pattern) => parentPort?.postMessage(findGrowth(pattern) ?? null));
