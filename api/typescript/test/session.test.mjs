// The session against a service that is played: what it sends when, and what it makes of the answers.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { ProblemError, createClient, each, unwrap } from "../dist/index.js";

const json = (status, body, headers = {}) => new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });
const problem = (status, code, more = {}, headers = {}) => json(status, { type: "x", title: "t", status, detail: "d", code, request_id: "r", ...more }, headers);

/** Plays the service: refresh tokens r1, r2, … give access tokens a1, a2, …; the newest is good until `spoil`. */
function play({ cookie = false, life = 300 } = {}) {
  const p = { calls: [], round: 0, session: "s1", good: () => `Bearer a${p.round}`, spoiled: false, answer: undefined };
  const tokens = () => {
    p.round++;
    p.spoiled = false;
    return json(200, { token_type: "Bearer", access_token: `a${p.round}`, expires_in: life, refresh_expires_in: 9999, session_id: p.session, ...(cookie ? {} : { refresh_token: `r${p.round}` }) });
  };
  p.fetch = async (request) => {
    const path = new URL(request.url).pathname.replace("/api/v1", "");
    const call = { path, auth: request.headers.get("Authorization"), key: request.headers.get("X-API-Key"), body: await request.text(), credentials: request.credentials };
    p.calls.push(call);
    await p.gate;
    const own = p.answer?.(call);
    if (own) return own;
    if (path === "/auth/login" || path === "/auth/reauthenticate") return tokens();
    if (path === "/auth/refresh") return tokens();
    if (path === "/auth/logout") return new Response(null, { status: 204 });
    if (call.auth !== p.good() || p.spoiled) return problem(401, "invalid_access_token");
    return json(200, { echo: call.body });
  };
  p.paths = () => p.calls.map((c) => c.path);
  return p;
}

const login = (ums) => ums.POST("/api/v1/auth/login", { body: { email: "a@example.com", password: "p" } });

test("a sign-in signs in, and a sign-out signs out", async () => {
  const p = play();
  const ums = createClient({ baseUrl: "http://id.test/", fetch: p.fetch });
  const told = [];
  ums.session.onChange((id) => told.push(id));
  await login(ums);
  assert.equal(ums.session.id, "s1");
  await unwrap(ums.GET("/api/v1/users/me"));
  await unwrap(ums.POST("/api/v1/auth/logout"));
  assert.deepEqual(p.calls.map((c) => c.auth), [null, "Bearer a1", "Bearer a1"]);
  assert.deepEqual(told, ["s1", undefined]);
  await assert.rejects(unwrap(ums.GET("/api/v1/users/me")), { code: "invalid_access_token", status: 401 });
  assert.equal(p.calls.at(-1).auth, null);
});

test("a refused access token is renewed once for all calls, and each is repeated with its body", async () => {
  const p = play();
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch });
  await login(ums);
  p.spoiled = true;
  const patch = (name) => unwrap(ums.PATCH("/api/v1/users/me", { body: { display_name: name } }));
  const answers = await Promise.all(["a", "b", "c"].map(patch));
  assert.deepEqual(answers.map((a) => a.echo), ["a", "b", "c"].map((n) => JSON.stringify({ display_name: n })));
  assert.equal(p.paths().filter((path) => path === "/auth/refresh").length, 1);
  assert.equal(p.calls.find((c) => c.path === "/auth/refresh").body, '{"refresh_token":"r1"}');
});

test("a token about to end is renewed before the call", async () => {
  const p = play({ life: 0 });
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch });
  await login(ums);
  await unwrap(ums.GET("/api/v1/users/me"));
  assert.deepEqual(p.paths(), ["/auth/login", "/auth/refresh", "/users/me"]);
  assert.equal(await ums.session.accessToken(), "a3");
});

test("with a cookie the refresh has no body and takes credentials along", async () => {
  const p = play({ cookie: true });
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch });
  assert.equal(await ums.session.resume(), true);
  assert.deepEqual(p.calls, [{ path: "/auth/refresh", auth: null, key: null, body: "", credentials: "include" }]);
});

test("nobody stays nobody: no refresh without a session", async () => {
  const p = play();
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch });
  await ums.GET("/api/v1/users/me");
  assert.deepEqual(p.paths(), ["/users/me"]);
  assert.equal(await ums.session.accessToken(), undefined);
});

test("a refused refresh ends the session; one that cannot be had now does not", async () => {
  const p = play();
  const kept = [];
  const store = { get: () => kept.at(-1) ?? null, set: (token) => kept.push(token) };
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch, store });
  await login(ums);
  p.spoiled = true;
  p.answer = (call) => call.path === "/auth/refresh" && problem(503, "overloaded", {}, { "Retry-After": "7" });
  const { error } = await ums.GET("/api/v1/users/me");
  assert.equal(error.code, "invalid_access_token");
  assert.equal(ums.session.id, "s1");
  p.answer = (call) => call.path === "/auth/refresh" && problem(401, "invalid_refresh_token");
  await ums.GET("/api/v1/users/me");
  assert.equal(ums.session.id, undefined);
  assert.deepEqual(kept, ["r1", null]);
});

test("what keeps the token from being renewed is the answer of the call", async () => {
  const p = play({ life: 0 });
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch });
  await login(ums);
  p.answer = (call) => call.path === "/auth/refresh" && problem(503, "overloaded", {}, { "Retry-After": "7" });
  for (const call of [unwrap(ums.GET("/api/v1/users/me")), ums.session.accessToken()]) {
    await assert.rejects(call, (e) => e instanceof ProblemError && e.code === "overloaded" && e.retryAfter === 7);
  }
  p.answer = () => { throw new TypeError("fetch failed"); };
  await assert.rejects(ums.GET("/api/v1/users/me"), TypeError);
  p.answer = undefined;
  await unwrap(ums.GET("/api/v1/users/me"));
});

test("a wrong password of somebody who is signed in is no reason to refresh", async () => {
  const p = play();
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch });
  await login(ums);
  p.answer = (call) => call.path === "/auth/reauthenticate" && problem(401, "invalid_credentials");
  const { error } = await ums.POST("/api/v1/auth/reauthenticate", { body: { password: "x" } });
  assert.equal(error.code, "invalid_credentials");
  assert.deepEqual(p.paths(), ["/auth/login", "/auth/reauthenticate"]);
});

test("a reauthentication leaves the stored refresh token alone", async () => {
  const p = play();
  const kept = [];
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch, store: { get: () => kept.at(-1) ?? null, set: (token) => kept.push(token) } });
  await login(ums);
  await unwrap(ums.POST("/api/v1/auth/reauthenticate", { body: { password: "p" } }));
  assert.deepEqual(kept, ["r1"]);
  assert.equal(await ums.session.accessToken(), "a2");
});

test("the late answer of a refresh brings no session back that was ended, nor an older one", async () => {
  for (const [then, id] of [[(ums) => ums.POST("/api/v1/auth/logout", { headers: { Authorization: "Bearer a1" } }), undefined], [login, "s2"]]) {
    const p = play();
    const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch, store: { get: () => null, set() {} } });
    await login(ums);
    let late;
    p.answer = (call) => {
      if (call.path === "/auth/refresh") return new Promise((resolve) => { late = resolve; });
      if (call.path === "/auth/login") p.session = "s2";
    };
    p.spoiled = true;
    const call = ums.GET("/api/v1/users/me");
    while (!late) await new Promise(setImmediate);
    await then(ums);
    late(json(200, { access_token: "old", expires_in: 300, session_id: "s1", refresh_token: "old" }));
    await call;
    assert.equal(ums.session.id, id);
    assert.notEqual(await ums.session.accessToken(), "old");
  }
});

test("a key goes with every call, and there is no session", async () => {
  const p = play();
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch, apiKey: "ums_live_x" });
  await ums.GET("/api/v1/api-keys/current");
  assert.deepEqual(p.calls.map((c) => [c.key, c.auth]), [["ums_live_x", null]]);
});

test("problems are errors with their fields; what no service wrote is one as well", async () => {
  const p = play();
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch });
  p.answer = () => problem(422, "validation_failed", { errors: [{ pointer: "/email", code: "c", detail: "one" }, { pointer: "/address/country", code: "c", detail: "two" }] });
  await assert.rejects(login(ums).then((r) => unwrap(Promise.resolve(r))), (e) => {
    assert.deepEqual(e.fields, { email: "one", "address.country": "two" });
    return true;
  });
  p.answer = () => new Response("<h1>Bad gateway</h1>", { status: 502 });
  await assert.rejects(unwrap(ums.GET("/api/v1/users/me")), { code: "unexpected_answer", status: 502 });
});

test("a list is walked to its end", async () => {
  const p = play();
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch });
  const cursors = [];
  p.answer = () => json(200, { data: [{ id: cursors.length }], next_cursor: cursors.length < 3 ? "more" : null });
  const seen = [];
  for await (const user of each((cursor) => { cursors.push(cursor); return ums.GET("/api/v1/users", { params: { query: { cursor } } }); })) seen.push(user.id);
  assert.deepEqual(seen, [1, 2, 3]);
  assert.deepEqual(cursors, [undefined, "more", "more"]);
});

test("the late refusal of a refresh does not end a session that was begun meanwhile", async () => {
  const p = play();
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch, store: { get: () => null, set() {} } });
  await login(ums);
  let late;
  p.answer = (call) => call.path === "/auth/refresh" && new Promise((resolve) => { late = resolve; });
  p.spoiled = true;
  const call = ums.GET("/api/v1/users/me");
  while (!late) await new Promise(setImmediate);
  p.session = "s2";
  await login(ums);
  late(problem(401, "invalid_refresh_token"));
  await unwrap(call); // repeated with the new session's token
  assert.equal(ums.session.id, "s2");
});

test("a call that was refused late uses the token that another one has renewed", async () => {
  const p = play();
  const ums = createClient({ baseUrl: "http://id.test", fetch: p.fetch });
  await login(ums);
  p.spoiled = true;
  let late;
  p.answer = (call) => call.body.includes("slow") && call.auth === "Bearer a1" && new Promise((resolve) => { late = resolve; });
  const slow = ums.PATCH("/api/v1/users/me", { body: { display_name: "slow" } });
  while (!late) await new Promise(setImmediate);
  await unwrap(ums.GET("/api/v1/users/me"));
  late(problem(401, "invalid_access_token"));
  await unwrap(slow);
  assert.equal(p.paths().filter((path) => path === "/auth/refresh").length, 1);
});

test("tabs that share a store take turns, and each presents the newest token", async (t) => {
  const taken = [];
  let last = Promise.resolve();
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: { locks: { request: (name, work) => { taken.push(name); return (last = last.then(work)); } } },
  });
  t.after(() => Reflect.deleteProperty(globalThis, "navigator"));
  const p = play();
  let kept = null;
  const store = { get: () => kept, set: (token) => { kept = token; } };
  const tab = () => createClient({ baseUrl: "http://id.test", fetch: p.fetch, store });
  await login(tab());
  await Promise.all([tab().session.resume(), tab().session.resume()]);
  assert.deepEqual(p.calls.slice(1).map((c) => c.body), ['{"refresh_token":"r1"}', '{"refresh_token":"r2"}']);
  assert.equal(taken.length, 2);
});

test("whoever redirects a call gets no credential to another place", async (t) => {
  const listen = (handler) =>
    new Promise((resolve) => {
      const server = createServer(handler).listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
      t.after(() => server.close());
    });
  const seen = [];
  const elsewhere = await listen((request, response) => {
    seen.push([request.url, request.headers["x-api-key"]]);
    request.resume().on("end", () => response.end("{}"));
  });
  const base = await listen((request, response) =>
    request.resume().on("end", () => response.writeHead(307, { Location: elsewhere + request.url, Connection: "close" }).end()),
  );
  await assert.rejects(createClient({ baseUrl: base, apiKey: "ums_live_k" }).GET("/api/v1/users/me"), TypeError);
  await assert.rejects(login(createClient({ baseUrl: base })), TypeError);
  const store = { get: () => "r1", set: () => {} };
  await assert.rejects(createClient({ baseUrl: base, store }).session.resume(), TypeError);
  assert.deepEqual(seen, []);
});

test("however the service's address is spelt, who signs in is signed in", async () => {
  for (const baseUrl of ["https://ID.test", "https://id.test:443/", " https://id.test/"]) {
    const p = play();
    const ums = createClient({ baseUrl, fetch: p.fetch });
    await login(ums);
    assert.equal(ums.session.id, "s1", baseUrl);
    await unwrap(ums.GET("/api/v1/users/me"));
  }
});
