// Sign-up, verification, sign-in, a call and sign-out, in a page of plain JavaScript.
import { ProblemError, createClient, unwrap } from "@user-management-service/client";

const baseUrl = new URLSearchParams(location.search).get("api") ?? "http://localhost:8080";
const ums = createClient({ baseUrl });

const at = (id) => document.getElementById(id);
const say = (text) => {
  at("status").textContent = text;
};

// What the page shows follows from the session, whatever began or ended it: this page, another tab, an administrator.
function show(sessionId) {
  at("in").hidden = sessionId === undefined;
  at("out").hidden = sessionId !== undefined;
  at("me").textContent = "";
  say(sessionId === undefined ? "You are signed out." : "You are signed in.");
}
ums.session.onChange(show);

/** Runs what a form or button is for, and tells why it did not work. */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof ProblemError)) {
      say("The service cannot be reached.");
      console.error(error);
    } else if (error.code !== "invalid_access_token") { // the session has ended, and show has said so
      say(Object.values(error.fields)[0] ?? error.problem.detail);
    }
  }
}

/** Calls a function with a form's fields when it is sent. */
function onSubmit(id, work) {
  at(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => work(Object.fromEntries(new FormData(event.target))));
  });
}

let registrationId; // kept in this page: together with the code it proves who registered

onSubmit("register", async ({ email, password }) => {
  const answer = await unwrap(ums.POST("/api/v1/auth/register", { body: { email, password } }));
  if ("registration_id" in answer) {
    registrationId = answer.registration_id;
    at("verify").hidden = false;
    say("If the address is new here, a code is on its way to it."); // the same for an address that has an account
  } else {
    say("You can sign in now."); // the service needs no proof (UMS_EMAIL_VERIFICATION=optional)
  }
});

onSubmit("verify", async ({ code }) => {
  await unwrap(ums.POST("/api/v1/auth/email/verify", { body: { registration_id: registrationId, code } }));
  at("verify").hidden = true;
  say("Your address is proven. You can sign in now.");
});

onSubmit("login", async ({ email, password }) => {
  await unwrap(ums.POST("/api/v1/auth/login", { body: { email, password, cookie: true } }));
});

at("who").addEventListener("click", () =>
  attempt(async () => {
    at("me").textContent = "";
    at("me").textContent = JSON.stringify(await unwrap(ums.GET("/api/v1/users/me")), null, 2);
  }),
);

at("logout").addEventListener("click", () => attempt(() => unwrap(ums.POST("/api/v1/auth/logout"))));

attempt(async () => {
  await ums.session.resume();
  show(ums.session.id);
});
