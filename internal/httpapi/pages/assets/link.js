"use strict";
// The pages behind mailed links. Nothing is sent before the button is pressed, but a look at the public configuration.
(() => {
  const page = document.body.dataset.page;
  const $ = (id) => document.getElementById(id);

  // The token leaves the address bar, and with it the history and the screen; it lives in this variable only.
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  history.replaceState(null, "", location.pathname);
  addEventListener("hashchange", () => location.reload()); // another link, opened in this tab

  const calls = {
    "verify-email": "/api/v1/auth/email/verify",
    "accept-invitation": "/api/v1/auth/invitations/accept",
    "reset-password": "/api/v1/auth/password/reset",
    "magic-link": "/api/v1/auth/magic-link/verify",
    "confirm-email-change": "/api/v1/auth/email/change/confirm",
    "undo-email-change": "/api/v1/auth/email/change/undo",
  };

  // Who signs in here gets a cookie that no script reads; it is for an application on this origin.
  const cookie = page === "magic-link";
  // The member of the body that the field "password" fills.
  const member = page === "reset-password" ? "new_password" : "password";

  const english = {
    all: {
      noToken: "This link is incomplete. Open it from the mail again, or copy the whole line.",
      invalid_token: "This link is no longer valid: it has expired, has been used, or was replaced by a newer one.",
      rate_limited: "Too many attempts. Please wait a while, then try again.",
      network: "The service cannot be reached. Check your connection and try again.",
      other: "That did not work. Please try again later.",
      required: "Enter a password.",
      sending: "One moment …",
      hint: (min) => `At least ${min} characters. A sentence is easy to remember and hard to guess.`,
    },
    "verify-email": {
      invalid_credentials: "The password is not right. The link stays valid.",
      done: "Your e-mail address is confirmed. You can close this page and sign in.",
    },
    "accept-invitation": {
      done: "Welcome! Your account is ready. You can close this page and sign in.",
    },
    "reset-password": {
      done: "Your new password is set. You can close this page and sign in with it.",
    },
    "magic-link": {
      mfa_required: "Your account asks for a second factor, which this page cannot take. Sign in with your password instead.",
      done: "You are signed in. You can close this page.",
    },
    "confirm-email-change": {
      email_taken: "This address belongs to another account by now.",
      done: "This is the e-mail address of your account now. You can close this page.",
    },
    "undo-email-change": {
      email_taken: "This address belongs to another account by now. Ask the administrators for help.",
      done: "This is the e-mail address of your account, and all its sessions have ended. Now choose a new password: use “forgot password” where you sign in.",
    },
  };
  const german = {
    all: {
      password: "Passwort",
      reveal: "Passwort anzeigen",
      name: "Name (freiwillig)",
      noToken: "Dieser Link ist unvollständig. Öffnen Sie ihn erneut aus der E-Mail oder kopieren Sie die ganze Zeile.",
      invalid_token: "Dieser Link gilt nicht mehr: Er ist abgelaufen, wurde benutzt oder durch einen neueren ersetzt.",
      rate_limited: "Zu viele Versuche. Bitte warten Sie eine Weile und versuchen Sie es dann erneut.",
      network: "Der Dienst ist nicht erreichbar. Prüfen Sie Ihre Verbindung und versuchen Sie es erneut.",
      other: "Das hat nicht geklappt. Bitte versuchen Sie es später erneut.",
      required: "Geben Sie ein Passwort ein.",
      sending: "Einen Moment …",
      hint: (min) => `Mindestens ${min} Zeichen. Ein Satz ist leicht zu merken und schwer zu erraten.`,
      too_short: "Das Passwort ist zu kurz.",
      too_long: "Die Eingabe ist zu lang.",
      invalid_characters: "Erlaubt sind Buchstaben, Ziffern, Zeichen, Leerzeichen und Emoji, aber keine Steuerzeichen.",
      too_common: "Dieses Passwort ist zu verbreitet. Wählen Sie ein anderes.",
      too_predictable: "Dieses Passwort ist zu leicht zu erraten. Wählen Sie ein anderes.",
      contains_context: "Das Passwort enthält Ihren Namen, Ihre Adresse oder den Namen des Dienstes.",
    },
    "verify-email": {
      title: "E-Mail-Adresse bestätigen",
      lead: "Geben Sie das Passwort Ihres Kontos ein. Es zeigt, dass Ihnen nicht nur das Postfach gehört, sondern auch das Konto.",
      action: "Adresse bestätigen",
      invalid_credentials: "Das Passwort stimmt nicht. Der Link bleibt gültig.",
      done: "Ihre E-Mail-Adresse ist bestätigt. Sie können diese Seite schließen und sich anmelden.",
    },
    "accept-invitation": {
      title: "Einladung annehmen",
      lead: "Wählen Sie ein Passwort für Ihr Konto.",
      action: "Einladung annehmen",
      password: "Neues Passwort",
      done: "Willkommen! Ihr Konto ist bereit. Sie können diese Seite schließen und sich anmelden.",
    },
    "reset-password": {
      title: "Neues Passwort wählen",
      lead: "Sie werden überall abgemeldet, und die API-Schlüssel Ihres Kontos werden widerrufen.",
      action: "Passwort setzen",
      password: "Neues Passwort",
      done: "Ihr neues Passwort gilt. Sie können diese Seite schließen und sich damit anmelden.",
    },
    "magic-link": {
      title: "Anmelden",
      lead: "Sie werden mit diesem Browser angemeldet. Falls Sie das nicht angefordert haben, schließen Sie diese Seite.",
      action: "Anmelden",
      mfa_required: "Ihr Konto verlangt einen zweiten Faktor, den diese Seite nicht abfragen kann. Melden Sie sich stattdessen mit Ihrem Passwort an.",
      done: "Sie sind angemeldet. Sie können diese Seite schließen.",
    },
    "confirm-email-change": {
      title: "Neue E-Mail-Adresse bestätigen",
      lead: "Von nun an melden Sie sich mit dieser Adresse an und erhalten dort E-Mails. Falls Sie das nicht veranlasst haben, schließen Sie diese Seite: Sie gäben Ihre Adresse einem fremden Konto.",
      action: "Neue Adresse bestätigen",
      email_taken: "Diese Adresse gehört inzwischen zu einem anderen Konto.",
      done: "Dies ist nun die E-Mail-Adresse Ihres Kontos. Sie können diese Seite schließen.",
    },
    "undo-email-change": {
      title: "E-Mail-Adresse behalten",
      lead: "Ihr Konto behält die Adresse, an die diese E-Mail ging, oder erhält sie zurück. Alle Sitzungen des Kontos enden.",
      action: "Diese Adresse behalten",
      email_taken: "Diese Adresse gehört inzwischen zu einem anderen Konto. Wenden Sie sich an die Administratoren.",
      done: "Dies ist die E-Mail-Adresse Ihres Kontos, und alle Sitzungen sind beendet. Wählen Sie nun ein neues Passwort: mit „Passwort vergessen“ bei der Anmeldung.",
    },
  };
  const inGerman = /^de\b/i.test(navigator.language || "");
  const own = inGerman ? { ...german.all, ...german[page] } : {};
  const texts = { ...english.all, ...english[page], ...own };

  if (inGerman) {
    document.documentElement.lang = "de";
    document.title = own.title;
    for (const element of document.querySelectorAll("[data-text]")) {
      element.textContent = own[element.dataset.text] ?? element.textContent;
    }
  }

  const form = $("form"), alert = $("alert"), status = $("status"), password = $("password"), button = $("submit");
  let sending = false;

  function say(element, text) {
    element.textContent = text;
    element.hidden = !text;
  }

  function mark(name, text) {
    const input = $(name), fault = $(`${name}-error`);
    if (!input || !fault) return false;
    input.setAttribute("aria-invalid", "true");
    fault.textContent += (fault.textContent ? " " : "") + text;
    fault.hidden = false;
    return true;
  }

  function clear() {
    say(alert, "");
    for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    for (const fault of form.querySelectorAll(".fault")) say(fault, "");
  }

  // What a refusal means in words: of a field beside the field, all else in the alert.
  function explain(problem) {
    const loose = [];
    for (const error of problem.errors ?? []) {
      const text = own[error.code] ?? error.detail;
      const name = String(error.pointer).replace(/^\//, "");
      if (!mark(name === member ? "password" : name, text)) loose.push(text);
    }
    const first = form.querySelector("[aria-invalid]");
    if (!first || loose.length) {
      say(alert, loose.join(" ") || texts[problem.code] || (inGerman ? texts.other : problem.detail || texts.other));
    }
    if (["invalid_token", "mfa_required"].includes(problem.code)) form.hidden = true; // the link is of no use any more
    (form.hidden ? $("title") : first ?? password ?? button).focus();
  }

  async function send() {
    const body = { token };
    if (cookie) body.cookie = true;
    if (password) body[member] = password.value;
    const name = $("display_name")?.value.trim();
    if (name) body.display_name = name;
    let response;
    try {
      response = await fetch(calls[page], {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json, application/problem+json" },
        body: JSON.stringify(body),
        credentials: cookie ? "same-origin" : "omit",
        redirect: "error",
        cache: "no-store",
      });
    } catch {
      say(alert, texts.network);
      return;
    }
    if (response.ok) {
      form.reset();
      form.hidden = true;
      say(status, texts.done);
      $("title").focus();
      return;
    }
    explain(await response.json().catch(() => ({})));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (sending) return;
    clear();
    if (password && !password.value) {
      mark("password", texts.required);
      password.focus();
      return;
    }
    sending = true;
    button.setAttribute("aria-disabled", "true");
    const label = button.textContent;
    button.textContent = texts.sending;
    try {
      await send();
    } finally {
      sending = false;
      button.removeAttribute("aria-disabled");
      button.textContent = label;
    }
  });

  $("reveal")?.addEventListener("change", (event) => {
    password.type = event.target.checked ? "text" : "password";
  });

  if (!token) {
    say(alert, texts.noToken);
    return;
  }
  form.hidden = false;

  // The product's name and the shortest password are public; without them the page is only less talkative.
  fetch("/api/v1/auth/config", { credentials: "omit" })
    .then((response) => (response.ok ? response.json() : {}))
    .then((config) => {
      say($("product"), config.product_name ?? "");
      const hint = $("password-hint");
      if (hint && config.password?.min) hint.textContent = texts.hint(config.password.min);
    })
    .catch(() => {});
})();
