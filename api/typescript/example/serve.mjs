// Serves this package's folder on http://localhost:5173, for the example page: node example/serve.mjs
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";

const root = new URL("../", import.meta.url);
const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".map": "application/json" };

createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost"); // without .., by construction
  if (pathname === "/") return response.writeHead(302, { Location: "/example/" }).end();
  try {
    const file = new URL(`.${pathname.endsWith("/") ? `${pathname}index.html` : pathname}`, root);
    const content = await readFile(file);
    response.writeHead(200, { "Content-Type": types[extname(file.pathname)] ?? "application/octet-stream" }).end(content);
  } catch {
    response.writeHead(404).end();
  }
}).listen(5173, "localhost", () => console.log("http://localhost:5173/example/  (Ctrl-C ends it)"));
