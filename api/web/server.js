// What the pages ask of the api. A refusal is an Error with the server's own sentence.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answered(response) {
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem.detail || problem.title || `The server answered ${response.status}.`);
}

export class Account {
  #token = sessionStorage.getItem("token");

  get known() {
    return Boolean(this.#token);
  }

  async enter(email, password, isNew) {
    const body = JSON.stringify({ email, password });
    const headers = { "Content-Type": "application/json" };
    const path = `/api/v1/auth/${isNew ? "sign-up" : "log-in"}`;
    const tokens = await (await answered(await fetch(path, { method: "POST", headers, body }))).json();
    this.#token = tokens.access_token;
    sessionStorage.setItem("token", this.#token);
  }

  forget() {
    this.#token = null;
    sessionStorage.removeItem("token");
  }

  async ask(method, path, body) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    await answered(response);
    return response.status === 204 ? null : response.json();
  }
}

export async function signal(method, url, token, sdp) {
  const headers = { Authorization: `Bearer ${token}` };
  if (sdp !== undefined) headers["Content-Type"] = "application/sdp";
  return answered(await fetch(url, { method, headers, body: sdp }));
}
