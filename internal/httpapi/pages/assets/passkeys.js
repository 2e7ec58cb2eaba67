"use strict";
// The development page of passkeys: what a frontend does with the API, in one file. Tokens stay in this closure.
(() => {
  const $ = (id) => document.getElementById(id);
  let access = "";

  // call sends JSON below /api/v1 and returns the answer's body; a problem is thrown.
  async function call(method, path, body) {
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (access) headers.Authorization = `Bearer ${access}`;
    const answer = await fetch(`/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    const content = answer.status === 204 ? null : await answer.json();
    if (!answer.ok) throw Object.assign(new Error(content.errors?.[0]?.detail ?? content.detail), { problem: content });
    return content;
  }

  function say(text) {
    $("alert").hidden = true;
    $("status").hidden = !text;
    $("status").textContent = text;
  }

  function complain(error) {
    $("status").hidden = true;
    $("alert").hidden = false;
    $("alert").textContent = error.name === "NotAllowedError" ? "The browser asked for a passkey and got none." : error.message;
  }

  // busy runs one thing at a time; whoever presses twice presses once.
  let running = false;
  const busy = (fn) => async (event) => {
    event?.preventDefault();
    if (running) return;
    running = true;
    say("One moment …");
    for (const b of document.querySelectorAll("button")) b.setAttribute("aria-disabled", "true");
    try {
      await fn(event);
    } catch (error) {
      complain(error);
    } finally {
      running = false;
      for (const b of document.querySelectorAll("button")) b.removeAttribute("aria-disabled");
    }
  };

  // claims reads what an access token says. That it is authentic is for the service to know.
  function claims(token) {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (c) => c.charCodeAt(0))));
  }

  // assert has the browser sign a challenge, alone or as the second factor of a sign-in.
  async function assert(mfaToken) {
    const more = mfaToken ? { mfa_token: mfaToken } : {};
    const options = await call("POST", "/auth/passkeys/login/options", more);
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey);
    const credential = await navigator.credentials.get({ publicKey });
    return call("POST", "/auth/passkeys/login", { ...more, credential: credential.toJSON(), device_name: "Passkey page" });
  }

  // fresh does what needs a recent authentication; when the last one is too old, a passkey proves its person again first.
  async function fresh(fn) {
    try {
      return await fn();
    } catch (error) {
      if (error.problem?.code !== "reauthentication_required") throw error;
    }
    const options = await call("POST", "/auth/passkeys/reauthentication/options");
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey);
    const credential = await navigator.credentials.get({ publicKey });
    const tokens = await call("POST", "/auth/reauthenticate", { method: "passkey", credential: credential.toJSON() });
    access = tokens.access_token;
    return fn();
  }

  async function enter(tokens) {
    access = tokens.access_token;
    const said = claims(access);
    const me = await call("GET", "/users/me");
    $("account").textContent = me.email;
    $("level").textContent = said.acr;
    $("methods").textContent = said.amr.join(", ");
    $("password").value = "";
    $("out").hidden = true;
    $("in").hidden = false;
    await list();
  }

  async function list() {
    const { data } = await call("GET", "/auth/passkeys");
    $("list").replaceChildren(...data.map((p) => {
      const row = document.createElement("li");
      const used = p.last_used_at ? `last used ${new Date(p.last_used_at).toLocaleString()}` : "not used yet";
      row.append(`${p.name}, ${p.backup_eligible ? "synchronised" : "on one device"}, ${used} `);
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = `Remove ${p.name}`;
      remove.addEventListener("click", busy(async () => {
        await fresh(() => call("DELETE", `/auth/passkeys/${p.id}`));
        await list();
        say("Removed.");
        $("list-title").focus();
      }));
      row.append(remove);
      return row;
    }));
    if (data.length === 0) {
      const none = document.createElement("li");
      none.textContent = "None yet.";
      $("list").append(none);
    }
  }

  $("login").addEventListener("click", busy(async () => {
    await enter(await assert());
    say("Signed in with a passkey.");
  }));

  $("password-form").addEventListener("submit", busy(async () => {
    let tokens;
    try {
      tokens = await call("POST", "/auth/login", { email: $("email").value, password: $("password").value });
    } catch (error) {
      if (error.problem?.code !== "mfa_required" || !error.problem.factors.includes("passkey")) throw error;
      tokens = await assert(error.problem.mfa_token);
    }
    await enter(tokens);
    say("Signed in with the password.");
  }));

  $("register-form").addEventListener("submit", busy(async () => {
    const options = await fresh(() => call("POST", "/auth/passkeys/registration/options"));
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options.publicKey);
    const credential = await navigator.credentials.create({ publicKey });
    const name = $("name").value.trim();
    await call("POST", "/auth/passkeys/registration", { credential: credential.toJSON(), ...(name ? { name } : {}) });
    $("name").value = "";
    await list();
    say("Added.");
  }));

  $("logout").addEventListener("click", busy(async () => {
    await call("POST", "/auth/logout");
    access = "";
    $("in").hidden = true;
    $("out").hidden = false;
    say("Signed out.");
    $("login").focus();
  }));

  if (!window.PublicKeyCredential?.parseCreationOptionsFromJSON) {
    complain(new Error("This browser has no passkeys here. Open the page on localhost or over https, in a current browser."));
    return;
  }
  $("list-title").tabIndex = -1;
  $("out").hidden = false;
})();
