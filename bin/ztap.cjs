"use strict";
// Runs on any Node.js, also on one that is too old for the rest: it says so in one line.
var path = require("path");
var root = path.dirname(__dirname);
var wanted = /[0-9.]+/.exec(require("../package.json").engines.node)[0];
var older = wanted
  .split(".")
  .map(Number)
  .reduce(function (result, part, index) {
    return result !== 0 ? result : Number(process.versions.node.split(".")[index]) - part;
  }, 0);
if (older < 0) {
  process.stderr.write("ztap: needs Node.js " + wanted + " or newer, and this is " + process.versions.node + "\n");
  process.exit(1);
}
var compileCache = require("module");
if (compileCache.enableCompileCache) compileCache.enableCompileCache(path.join(root, "dist", ".cache"));
import("../dist/cli/cli/main.js").then(
  function (cli) {
    return cli.main(process.argv.slice(2), root);
  },
  function (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    process.stderr.write("ztap: not built yet; run `npm run setup` in " + root + "\n");
    process.exit(1);
  },
);
