// A WebSocket of npm's `ws`. Starts with {"url", "protocols", "options"}; its orders are `orders` below.
import WebSocket from "ws";
import { obey, tell } from "./puppet.js";

const { url, protocols = [], options = {} } = JSON.parse(process.argv[2]);
const socket = new WebSocket(url, protocols, options);
socket.on("open", () => tell({ open: socket.protocol || null, extensions: socket.extensions }));
socket.on("message", (data, isBinary) => tell(isBinary ? { binary: data.toString("base64") } : { text: data.toString() }));
socket.on("pong", (data) => tell({ pong: data.toString() }));
socket.on("ping", (data) => tell({ ping: data.toString() }));
socket.on("close", (code, reason) => tell({ close: code, reason: reason.toString() }));
socket.on("error", (error) => tell({ error: error.message }));

const orders = {
  text: (text, { compress = true }) => socket.send(text, { compress }),
  binary: (base64) => socket.send(Buffer.from(base64, "base64")),
  fragments: (pieces) => pieces.forEach((piece, index) => socket.send(piece, { fin: index === pieces.length - 1 })),
  ping: (data) => socket.ping(data),
  close: (code, { reason }) => socket.close(code, reason),
  terminate: () => socket.terminate(),
};
await obey(orders);
