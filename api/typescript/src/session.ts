import { ProblemError, isProblem, toProblem } from "./problem.js";
import type { components, paths } from "./schema.js";
import type { Store } from "./store.js";

type Tokens = components["schemas"]["Tokens"];
type Send = (request: Request) => Promise<Response>;

const refreshPath: keyof paths = "/api/v1/auth/refresh";
const reauthenticatePath: keyof paths = "/api/v1/auth/reauthenticate";
const logoutPath: keyof paths = "/api/v1/auth/logout";

/** The calls whose answers hold tokens: who makes one is signed in by it. */
const issuing: readonly (keyof paths)[] = [
  "/api/v1/auth/login",
  "/api/v1/auth/mfa/verify",
  "/api/v1/auth/passkeys/login",
  "/api/v1/auth/magic-link/verify",
  reauthenticatePath,
  refreshPath,
];

/** A token is renewed this long before it ends, in milliseconds, or at half of its life if that is less. */
const margin = 30_000;

/** The service redirects no call. To follow one would carry a password, a refresh token or X-API-Key to wherever it leads. */
export const redirect = "error";

/** Web Locks, where there are any. */
interface Locks {
  request<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/**
 * Session holds the access token in memory and renews it: shortly before it ends, and when the service refuses it. At
 * most one refresh is under way in a client. Several tabs may refresh at once: the service gives the same successor to
 * all who present the same token within its grace window.
 */
export class Session {
  readonly #base: string;
  readonly #send: Send;
  readonly #store: Store;
  readonly #listeners = new Set<(sessionId: string | undefined) => void>();
  #token: string | undefined;
  #renewAt = 0;
  #id: string | undefined;
  #refreshing: Promise<Response | undefined> | undefined;
  /** Grows with each sign-in and sign-out, so that the late answer of a refresh does not bring an older session back. */
  #era = 0;

  constructor(base: string, send: Send, store: Store) {
    this.#base = base;
    this.#send = send;
    this.#store = store;
  }

  /** The id of the session, or undefined for nobody. */
  get id(): string | undefined {
    return this.#id;
  }

  /**
   * Takes up the session of an earlier page: from the cookie, or from the store. Call it once when a page has loaded;
   * it says whether somebody is signed in. Like accessToken it throws a ProblemError when that cannot be told now.
   */
  async resume(): Promise<boolean> {
    if (this.#token === undefined) await raise(await this.#refreshed());
    return this.#token !== undefined;
  }

  /** An access token that is good for a while yet, for calls to other services; undefined for nobody. */
  async accessToken(): Promise<string | undefined> {
    await raise(await this.#renewed());
    return this.#token;
  }

  /** Calls a function when a session begins, ends, or is another one than before (by another tab). Returns what takes the function off. */
  onChange(listener: (sessionId: string | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Sends a request of the client with the session's access token. */
  async send(request: Request): Promise<Response> {
    const path = request.url.slice(this.#base.length).split("?", 1)[0] ?? "";
    if (request.headers.has("Authorization") || request.headers.has("X-API-Key") || path === refreshPath) {
      return this.#observe(path, await this.#send(request));
    }
    const refusal = await this.#renewed();
    if (refusal) return refusal;
    const token = this.#token;
    if (token === undefined) return this.#observe(path, await this.#send(request));

    const again = request.clone();
    const response = await this.#send(bearing(request, token));
    if (response.status !== 401 || !isProblem(await problemOf(response), "invalid_access_token")) {
      return this.#observe(path, response);
    }
    if (this.#token === token) await this.#refreshed(); // else another call has renewed it meanwhile
    if (this.#token === undefined || this.#token === token) return response;
    return this.#observe(path, await this.#send(bearing(again, this.#token)));
  }

  /** Renews the token when it is about to end. Returns the answer that kept it from doing so, unless that ended the session. */
  async #renewed(): Promise<Response | undefined> {
    return this.#token === undefined || Date.now() < this.#renewAt ? undefined : this.#refreshed();
  }

  async #refreshed(): Promise<Response | undefined> {
    this.#refreshing ??= this.#exclusively(() => this.#refresh()).finally(() => {
      this.#refreshing = undefined;
    });
    return (await this.#refreshing)?.clone();
  }

  /** Tabs that share a store take turns, so that none keeps a token that another has exchanged since. A cookie needs no turns. */
  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const locks = (globalThis as { navigator?: { locks?: Locks } }).navigator?.locks;
    if (!locks || (await this.#store.get()) === null) return work();
    return locks.request(`ums-refresh ${this.#base}`, work);
  }

  async #refresh(): Promise<Response | undefined> {
    const era = this.#era;
    const kept = await this.#store.get();
    const response = await this.#send(
      new Request(this.#base + refreshPath, {
        method: "POST",
        credentials: "include",
        redirect,
        ...(kept === null ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify({ refresh_token: kept }) }),
      }),
    );
    if (response.ok) {
      const tokens = (await response.json()) as Tokens;
      if (era === this.#era || tokens.session_id === this.#id) await this.#adopt(tokens);
      return undefined;
    }
    if (era !== this.#era) return undefined;
    if (isProblem(await problemOf(response), "invalid_refresh_token")) {
      await this.#end();
      return undefined;
    }
    return response;
  }

  /** Takes from an answer what it does to the session. */
  async #observe(path: string, response: Response): Promise<Response> {
    if (!response.ok) return response;
    if ((issuing as readonly string[]).includes(path)) {
      this.#era++;
      await this.#adopt((await response.clone().json()) as Tokens, path === reauthenticatePath);
    } else if (path === logoutPath) {
      await this.#end();
    }
    return response;
  }

  /** A reauthentication gives a new access token alone: its refresh token is the session's current one, or by now its parent. */
  async #adopt(tokens: Tokens, accessOnly = false): Promise<void> {
    const life = tokens.expires_in * 1000;
    this.#token = tokens.access_token;
    this.#renewAt = Date.now() + life - Math.min(margin, life / 2);
    if (!accessOnly) await this.#store.set(tokens.refresh_token ?? null);
    this.#tell(tokens.session_id);
  }

  async #end(): Promise<void> {
    this.#era++;
    this.#token = undefined;
    await this.#store.set(null);
    this.#tell(undefined);
  }

  #tell(id: string | undefined): void {
    if (id === this.#id) return;
    this.#id = id;
    for (const listener of [...this.#listeners]) listener(id);
  }
}

function bearing(request: Request, token: string): Request {
  request.headers.set("Authorization", `Bearer ${token}`);
  return request;
}

async function raise(refusal: Response | undefined): Promise<void> {
  if (refusal) throw new ProblemError(toProblem(await problemOf(refusal), refusal), refusal);
}

function problemOf(response: Response): Promise<unknown> {
  return response.clone().json().catch(() => undefined);
}
