// One WebRTC connection to the server: WHIP (RFC 9725) to speak, WHEP (draft-ietf-wish-whep) to listen.
// A connection that is lost is made again at the same address: the server keeps a session for 30 s.

import { Refused, signal } from "./server.js";

const GATHERING_MS = 1000;
const PAUSES_MS = [250, 500, 1000, 2000, 4000];

export class Peer {
  #connection = null;
  #resource = null;
  #closed = false;
  #attempt = 0;

  // prepare(connection): adds tracks and channels, before the offer is made. told(state, error): what became of it.
  constructor(url, token, iceServers, prepare, told) {
    Object.assign(this, { url, token, iceServers, prepare, told });
  }

  async open() {
    const connection = new RTCPeerConnection({ iceServers: this.iceServers, bundlePolicy: "max-bundle" });
    this.#connection = connection;
    this.prepare(connection);
    await connection.setLocalDescription(await connection.createOffer());
    await gathered(connection);
    const response = await signal("POST", this.url, this.token, connection.localDescription.sdp);
    this.#resource = response.headers.get("Location");
    await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
    connection.addEventListener("connectionstatechange", () => this.#changed(connection));
  }

  async close() {
    this.#closed = true;
    await this.#leave();
    this.#connection?.close();
  }

  #changed(connection) {
    if (connection !== this.#connection || this.#closed) return;
    const state = connection.connectionState;
    this.told(state);
    if (state === "connected") this.#attempt = 0;
    if (state === "failed" || state === "disconnected" || state === "closed") this.#again(connection);
  }

  async #again(lost) {
    this.#connection = null;
    lost.close();
    await this.#leave();
    while (!this.#closed) {
      const pause = PAUSES_MS[Math.min(this.#attempt++, PAUSES_MS.length - 1)];
      await new Promise((done) => setTimeout(done, pause * (0.5 + Math.random())));
      if (this.#closed) return;
      try {
        await this.open();
        return;
      } catch (error) {
        const over = error instanceof Refused && [401, 403, 404, 410].includes(error.status);
        this.told(over ? "ended" : "waiting", error);
        if (over) return;
      }
    }
  }

  async #leave() {
    const resource = this.#resource;
    this.#resource = null;
    // The server notices by itself, too.
    if (resource) await signal("DELETE", resource, this.token).catch(() => null);
  }
}

async function gathered(connection) {
  if (connection.iceGatheringState === "complete") return;
  await Promise.race([
    new Promise((done) =>
      connection.addEventListener("icegatheringstatechange", () => {
        if (connection.iceGatheringState === "complete") done();
      }),
    ),
    new Promise((done) => setTimeout(done, GATHERING_MS)),
  ]);
}

// What the server offers to get through firewalls with: `Link` headers of rel "ice-server" (RFC 9725).
export async function iceServersOf(url, token) {
  const response = await fetch(url, { method: "OPTIONS", headers: { Authorization: `Bearer ${token}` } });
  const links = (response.headers.get("Link") ?? "").matchAll(/<([^>]+)>([^<]*)/g);
  return [...links]
    .map(([, urls, rest]) => ({ urls, ...Object.fromEntries([...rest.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, k, v]) => [k, v])) }))
    .filter((server) => server.rel === "ice-server")
    .map(({ urls, username, credential }) => ({ urls, username, credential }));
}
