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

// The overview is made at build time: asking for it is where everybody starts, and it need not wait for the rest.
var words = process.argv.slice(2);
var isOverview = words.length === 0 || (words.length === 1 && /^(help|--help|-h)$/.test(words[0]));
// It is 80 columns wide; a terminal of another width gets its own.
if (isOverview && (!process.stdout.isTTY || process.stdout.columns === 80)) {
  try {
    process.stdout.write(require("fs").readFileSync(path.join(root, "dist", "cli", "help.txt")));
    return;
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}

// Node.js keeps what it read from the cache for as long as the process lives: not for one that lives for weeks.
// What a package has installed stays as it is.
if (words[0] !== "agent")
  enableCache(
    require("fs").existsSync(path.join(root, "runtime")) ? "/var/cache/ztap" : path.join(root, "dist", ".cache"),
  );
import("../dist/cli/cli/main.js").then(
  function (cli) {
    return cli.main(words, root);
  },
  function (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    process.stderr.write("ztap: not built yet; run `npm run setup` in " + root + "\n");
    process.exit(1);
  },
);

// Node.js runs any compiled code that it finds there.
function enableCache(folder) {
  var compileCache = require("module");
  if (!compileCache.enableCompileCache || !isTrusted(folder)) return;
  var mask = process.umask(18); // 022
  process.umask(mask | 18);
  compileCache.enableCompileCache(folder);
  process.umask(mask);
}

// Whether the folder, and each in it, which stands for a version of Node.js, is this user's or root's, and only theirs to change.
function isTrusted(folder) {
  var fs = require("fs");
  function isOwn(one) {
    var stat = fs.lstatSync(one);
    return stat.isDirectory() && (stat.uid === 0 || stat.uid === process.getuid()) && (stat.mode & 18) === 0;
  }
  try {
    return (
      isOwn(folder) &&
      fs.readdirSync(folder).every(function (name) {
        return !/^v[0-9]/.test(name) || isOwn(path.join(folder, name));
      })
    );
  } catch (error) {
    return error.code === "ENOENT";
  }
}
