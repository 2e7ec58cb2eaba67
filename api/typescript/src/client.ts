import createFetchClient, { type Client as FetchClient } from "openapi-fetch";

import type { paths } from "./schema.js";
import { Session, redirect } from "./session.js";
import { type Store, memoryStore } from "./store.js";

export interface Options {
  /** Where the service is, without a path: "https://id.example.com". */
  baseUrl: string;
  /** An API key, for programs: every call is made with it, and there is no session. */
  apiKey?: string;
  /** Where the refresh token of a session without a cookie is kept; in memory, unless it is given. */
  store?: Store;
  /** Instead of the global fetch. */
  fetch?: (request: Request) => Promise<Response>;
}

/** A client has a method for each HTTP method, GET to DELETE, which takes a path of the contract; and the session of who has signed in. */
export type Client = FetchClient<paths> & { readonly session: Session };

/** Makes a client. Whoever signs in through it (POST /api/v1/auth/login and its kin) is signed in: later calls carry the access token, which renews itself. */
export function createClient(options: Options): Client {
  const base = new URL(options.baseUrl).href.replace(/\/+$/, ""); // as requests spell it
  const send = options.fetch ?? ((request: Request) => globalThis.fetch(request));
  const session = new Session(base, send, options.store ?? memoryStore());
  const { apiKey } = options;
  const client = createFetchClient<paths>({
    baseUrl: base,
    credentials: "include", // the cookie of the refresh token, which only two calls read
    redirect, // whoever redirects us gets no credential
    fetch: apiKey === undefined ? (request) => session.send(request) : (request) => send(withKey(request, apiKey)),
  });
  return Object.assign(client, { session });
}

function withKey(request: Request, key: string): Request {
  if (!request.headers.has("Authorization") && !request.headers.has("X-API-Key")) request.headers.set("X-API-Key", key);
  return request;
}
