export { type Client, type Options, createClient } from "./client.js";
export { type Outcome, type Problem, type ProblemCode, ProblemError, each, isProblem, unwrap } from "./problem.js";
export type { components, operations, paths } from "./schema.js";
export { Session } from "./session.js";
export { type Store, memoryStore, webStore } from "./store.js";
