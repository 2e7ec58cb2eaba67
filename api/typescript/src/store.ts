/**
 * Where a client keeps the refresh token of a session that was begun without `cookie: true`. Whoever reads it has the
 * session: see the README for what to choose.
 */
export interface Store {
  get(): string | null | Promise<string | null>;
  /** Keeps a token, or forgets it (null). */
  set(token: string | null): void | Promise<void>;
}

/** Keeps the token for as long as the page, or the program, lives. */
export function memoryStore(): Store {
  let kept: string | null = null;
  return {
    get: () => kept,
    set: (token) => {
      kept = token;
    },
  };
}

/** Keeps the token in localStorage (all tabs, until the sign-out) or sessionStorage (one tab). Every script of the page can read it. */
export function webStore(storage: Storage, name = "ums_refresh_token"): Store {
  return {
    get: () => storage.getItem(name),
    set: (token) => (token === null ? storage.removeItem(name) : storage.setItem(name, token)),
  };
}
