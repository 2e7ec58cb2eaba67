// What must compile, and what must not: tsc reads this file, nothing runs it.
import { type Problem, createClient, each, isProblem, memoryStore, unwrap, webStore } from "../src/index.js";

const ums = createClient({ baseUrl: "https://id.example.com", store: memoryStore() });

export async function typed(storage: Storage): Promise<void> {
  const { data, error } = await ums.POST("/api/v1/auth/login", { body: { email: "a@example.com", password: "p", cookie: true } });
  if (data) {
    const token: string = data.access_token;
    void token;
  } else {
    const problem: Problem = error;
    if (isProblem(problem, "mfa_required")) {
      const ticket: string | undefined = problem.mfa_token;
      const factors: string[] | undefined = problem.factors;
      void [ticket, factors];
    }
  }

  const me = await unwrap(ums.GET("/api/v1/users/me"));
  const status: "active" | "pending" | "suspended" | "deleting" = me.status;
  const address: string | null = me.email;
  void [status, address];

  for await (const user of each((cursor) => ums.GET("/api/v1/users", { params: { query: { limit: 200, ...(cursor && { cursor }) } } }))) {
    const id: string = user.id;
    void id;
  }

  const nothing: undefined = await unwrap(ums.DELETE("/api/v1/auth/sessions/{id}", { params: { path: { id: "…" } } }));
  void nothing;

  await ums.PUT("/api/v1/profiles/me/avatar", {
    body: new Blob() as never,
    bodySerializer: (picture) => picture,
    headers: { "Content-Type": "image/png" },
  });
  await ums.POST("/api/v1/auth/revoke", { body: { token: "…" }, headers: { "Content-Type": "application/x-www-form-urlencoded" } });

  createClient({ baseUrl: "https://id.example.com", store: webStore(storage) });
  createClient({ baseUrl: "https://id.example.com", apiKey: "ums_live_…" });

  // @ts-expect-error a path that the contract does not have
  await ums.GET("/api/v1/nothing");
  // @ts-expect-error a body without what is required
  await ums.POST("/api/v1/auth/login", { body: { email: "a@example.com" } });
  // @ts-expect-error a filter that is misspelt
  await ums.GET("/api/v1/users", { params: { query: { stauts: "active" } } });
}
