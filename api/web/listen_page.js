// The page of who listens: what to listen to stands behind the # of its address, which no server and no log sees.

import { Captions } from "./captions.js";
import { LevelMeter } from "./level_meter.js";
import { Peer, iceServersOf } from "./peer.js";

const $ = (id) => document.getElementById(id);
const names = new Intl.DisplayNames([document.documentElement.lang], { type: "language" });
const wanted = new URLSearchParams(location.hash.slice(1));
const language = wanted.get("language") ?? "";
const captions = new Captions($("captions"));
const level = new LevelMeter($("level-out"));
let peer = null;

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function prepare(context) {
  return (connection) => {
    connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addEventListener("track", ({ track }) => {
      const stream = new MediaStream([track]);
      $("dub").srcObject = stream;
      level.watch(stream, context);
    });
    connection.createDataChannel("captions").addEventListener("message", (message) => {
      const { event } = JSON.parse(message.data);
      if (event.type === "caption" && event.language === language) captions.show(event, names.of(language));
      if (event.type === "session_ended") stop("The session is over.");
    });
  };
}

async function listen() {
  const url = new URL(wanted.get("url"), location.href);
  // A token goes to the server that made this page, and to no other.
  if (url.origin !== location.origin) throw new Error("This link leads to another server.");
  $("listen").disabled = true;
  say("Connecting…");
  const token = wanted.get("token");
  peer = new Peer(url, token, await iceServersOf(url, token), prepare(new AudioContext()), told);
  await peer.open();
}

function told(state, error) {
  const words = { connected: "Listening", disconnected: "Connection lost, trying again…", failed: "Connection lost, trying again…" };
  say(words[state] ?? error?.message ?? state, state === "waiting" || state === "ended");
  if (state === "ended") stop(error.message);
}

async function stop(why) {
  await peer?.close();
  peer = null;
  level.stop();
  $("listen").disabled = false;
  say(why, true);
}

$("title").textContent = language ? `Listen in ${names.of(language)}` : "Listen";
$("listen").addEventListener("click", () => listen().catch((error) => stop(error.message)));
if (!wanted.get("url")) {
  $("listen").disabled = true;
  say("This address is not complete; ask for the whole link.", true);
}
