// Writes each ts block of the README into a file of test/readme, for tsc to check: what a block leaves to its reader is declared.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const folder = new URL("readme/", import.meta.url);
const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const imported = /^import \{ (.*) \} from "@user-management-service\/client";$/gm;

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
let count = 0;
for (const [, block] of readme.matchAll(/^```ts\n(.*?)^```$/gms)) {
  const names = [...block.matchAll(imported)].flatMap(([, list]) => list.split(", "));
  const more = ["unwrap", "webStore", "createClient", "type Client"].filter((name) => !names.includes(name));
  const declared = [
    `import { ${[...names, ...more].join(", ")} } from "../../src/index.js";`,
    block.includes("const ums =") ? "" : "declare const ums: Client;",
    "declare const email: string, password: string, code: string, file: File, process: { env: Record<string, string> };",
    block.includes("{ id }") ? "declare const id: string;" : "",
    ...["showApp()", "showSignIn()", "show(faults: Record<string, string>)", "wait(seconds?: number)", "tell(...words: string[])"].map((f) => `declare function ${f}: void;`),
  ];
  writeFileSync(new URL(`${++count}.ts`, folder), `${declared.join("\n")}\n${block.replaceAll(imported, "")}export {};\n`);
}
if (count === 0) throw new Error("the README has no examples");
