import type { components } from "./schema.js";

/** A refusal, after RFC 9457. `code` is stable; what it means and what to do stands at `type`. */
export type Problem = components["schemas"]["Problem"];

/** The codes that this version of the service gives, and any that a later one may: compare, and fall back on the status. */
export type ProblemCode = components["schemas"]["ProblemCode"] | (string & {});

/** One call's outcome, as the methods of the client return it. */
export interface Outcome<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** A refusal as an error: what `unwrap` throws. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly problem: Problem;
  /** Seconds after which a repetition makes sense (429, 503); undefined where the service names none. */
  readonly retryAfter: number | undefined;

  constructor(problem: Problem, response?: Response) {
    super(`${problem.status} ${problem.code}: ${problem.detail}`);
    this.problem = problem;
    const seconds = response?.headers.get("Retry-After");
    this.retryAfter = seconds ? Number(seconds) : undefined;
  }

  get status(): number {
    return this.problem.status;
  }

  get code(): ProblemCode {
    return this.problem.code;
  }

  /** The faults of the input by field: `{email: "Give one plain address …"}`. Fields of objects are joined by a dot. */
  get fields(): Record<string, string> {
    const out: Record<string, string> = {};
    for (const { pointer, detail } of this.problem.errors ?? []) {
      const name = pointer.replace(/^(\/|query\/|path\/|header\/)/, "").replaceAll("/", ".");
      out[name] ??= detail;
    }
    return out;
  }
}

/** Tells whether a value is a problem with one of these codes, or with any code where none is named. */
export function isProblem(value: unknown, ...codes: ProblemCode[]): value is Problem {
  return (
    typeof value === "object" && value !== null && "code" in value && "status" in value &&
    (codes.length === 0 || codes.includes(String(value.code)))
  );
}

/** Reads the problem of an answer. What no service of ours has written, such as a proxy's page, gets the code `unexpected_answer`. */
export function toProblem(error: unknown, response: Response): Problem {
  if (isProblem(error)) return error;
  return {
    type: "about:blank",
    title: response.statusText || `Status ${response.status}`,
    status: response.status,
    detail: "The answer is not one of this service; something on the way has given it.",
    code: "unexpected_answer",
    request_id: response.headers.get("X-Request-Id") ?? "",
  };
}

/** Returns the data of a call, or throws a `ProblemError`. A network that fails throws fetch's `TypeError`, as always. */
export async function unwrap<T>(call: Promise<Outcome<T>>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok) throw new ProblemError(toProblem(error, response), response);
  return data as T;
}

/** Walks through a list, page by page: `for await (const user of each((cursor) => ums.GET("/api/v1/users", {params: {query: {cursor}}})))`. */
export async function* each<T>(
  page: (cursor: string | undefined) => Promise<Outcome<{ data: T[]; next_cursor: string | null }>>,
): AsyncGenerator<T, void, undefined> {
  let cursor: string | undefined;
  do {
    const { data, next_cursor } = await unwrap(page(cursor));
    yield* data;
    cursor = next_cursor ?? undefined;
  } while (cursor !== undefined);
}
